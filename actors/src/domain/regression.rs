//! Lines through points: least squares, and Theil and Sen's median slope, which outliers do not move.

use super::ExactSum;

/// A straight line, held by a point on it, so that far away from x = 0 nothing is lost to rounding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Change of y per unit of x.
    pub slope: f64,
    through: (f64, f64),
}

impl Line {
    /// The line of that slope through a point.
    pub fn through(point: (f64, f64), slope: f64) -> Self {
        Line { slope, through: point }
    }

    /// The y of the line at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.through.1 + self.slope * (x - self.through.0)
    }
}

/// A line and how much of the scatter it explains.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// The line.
    pub line: Line,
    /// R², 0 to 1; 0 for values that are all equal.
    pub r_squared: f64,
}

/// The line with the least sum of squared vertical distances; `None` with fewer than two different x.
///
/// ```
/// use ionveil_actors::domain::least_squares;
/// let fit = least_squares(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]).expect("three points");
/// assert_eq!((fit.line.slope, fit.line.at(3.0), fit.r_squared), (2.0, 7.0, 1.0));
/// ```
pub fn least_squares(points: &[(f64, f64)]) -> Option<Fit> {
    let &(x0, y0) = points.first()?;
    if points.iter().all(|&(x, _)| x == x0) {
        return None;
    }
    // Equal values would be spread by the rounding of their own mean.
    if points.iter().all(|&(_, y)| y == y0) {
        return Some(Fit { line: Line::through((x0, y0), 0.0), r_squared: 0.0 });
    }
    let count = points.len() as f64;
    let sum = |term: &dyn Fn(f64, f64) -> f64| points.iter().map(|&(x, y)| term(x, y)).collect::<ExactSum>().value();
    let (mean_x, mean_y) = (sum(&|x, _| x) / count, sum(&|_, y| y) / count);
    let xx = sum(&|x, _| (x - mean_x) * (x - mean_x));
    let xy = sum(&|x, y| (x - mean_x) * (y - mean_y));
    let yy = sum(&|_, y| (y - mean_y) * (y - mean_y));
    let r_squared = if yy > 0.0 { (xy / xx * (xy / yy)).clamp(0.0, 1.0) } else { 0.0 };
    Some(Fit { line: Line::through((mean_x, mean_y), xy / xx), r_squared })
}

/// Theil and Sen's line: the median of the slopes of all pairs, through the point of the medians. Up to 29 % of the points
/// may be wild without moving it far. `None` with fewer than two different x.
///
/// Looks at every pair five times, so a thousand points take some milliseconds; memory does not grow with the pairs.
pub fn theil_sen(points: &[(f64, f64)]) -> Option<Line> {
    let slope = median_slope(points)?;
    let median_of = |pick: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = points.iter().map(pick).collect();
        values.sort_unstable_by(f64::total_cmp);
        median_sorted(&values).expect("there are two points at least")
    };
    Some(Line::through((median_of(|point| point.0), median_of(|point| point.1)), slope))
}

/// The middle of values in ascending order, or the mean of the two middle ones; `None` when there are none.
pub fn median_sorted(ascending: &[f64]) -> Option<f64> {
    let count = ascending.len();
    match count {
        0 => None,
        _ if count % 2 == 1 => Some(ascending[count / 2]),
        // Halved before they are added, so that the sum of two large ones stays finite.
        _ => Some(ascending[count / 2 - 1] / 2.0 + ascending[count / 2] / 2.0),
    }
}

/// Bits that are told apart in one pass over the pairs.
const DIGIT_BITS: u32 = 16;

fn median_slope(points: &[(f64, f64)]) -> Option<f64> {
    let pairs = || {
        points.iter().enumerate().flat_map(|(index, &(x, y))| {
            let later = points[index + 1..].iter().filter(move |&&(later_x, _)| later_x != x);
            later.map(move |&(later_x, later_y)| (later_y - y) / (later_x - x) + 0.0)
        })
    };
    let count = pairs().count();
    let lower_rank = count.checked_sub(1)? / 2;
    // A radix selection: each pass settles the next digit of the wanted slope, highest first.
    let mut prefix: u64 = 0;
    let mut rank = lower_rank;
    for shift in (0..u64::BITS / DIGIT_BITS).rev().map(|digit| digit * DIGIT_BITS) {
        let mut counts = vec![0usize; 1 << DIGIT_BITS];
        let above = shift + DIGIT_BITS;
        for key in pairs().map(order_key).filter(|key| key.checked_shr(above) == prefix.checked_shr(above)) {
            counts[(key >> shift) as usize & ((1 << DIGIT_BITS) - 1)] += 1;
        }
        let digit = counts.iter().position(|&of_digit| {
            let is_here = rank < of_digit;
            rank -= if is_here { 0 } else { of_digit };
            is_here
        })?;
        prefix |= (digit as u64) << shift;
    }
    let lower = from_order_key(prefix);
    if count % 2 == 1 {
        return Some(lower);
    }
    let up_to_lower = pairs().filter(|&slope| slope <= lower).count();
    let upper = if up_to_lower > lower_rank + 1 {
        lower
    } else {
        pairs().filter(|&slope| slope > lower).fold(f64::INFINITY, f64::min)
    };
    Some(lower / 2.0 + upper / 2.0)
}

/// A whole number that orders as the value does.
fn order_key(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn from_order_key(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_found_again_wherever_it_lies() {
        for (slope, intercept, from) in [(2.0, 1.0, 0), (-0.125, 3.5, 1_000_000), (0.0, 0.1, -50)] {
            let points: Vec<(f64, f64)> =
                (from..from + 20).map(|x| (f64::from(x), slope * f64::from(x) + intercept)).collect();
            let fit = least_squares(&points).expect("20 points");
            assert_eq!(fit.line.slope, slope);
            assert_eq!(fit.r_squared, if slope == 0.0 { 0.0 } else { 1.0 });
            assert_eq!(theil_sen(&points).map(|line| line.slope), Some(slope));
        }
    }

    #[test]
    fn too_little_is_no_line() {
        for points in [&[][..], &[(1.0, 2.0)], &[(1.0, 2.0), (1.0, 3.0)]] {
            assert_eq!(least_squares(points), None);
            assert_eq!(theil_sen(points), None);
        }
    }

    #[test]
    fn the_figures_are_those_of_a_worked_example() {
        // Computed by hand in fractions: mean x 2, mean y 3; Sxx 10, Sxy 9, Syy 12.
        let points = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 6.0), (4.0, 3.0)];
        let fit = least_squares(&points).expect("five points");
        assert!((fit.line.slope - 0.8).abs() < 1e-12, "{fit:?}");
        assert!((fit.line.at(0.0) - 1.4).abs() < 1e-12, "{fit:?}");
        assert!((fit.r_squared - 64.0 / 140.0).abs() < 1e-12, "{fit:?}");
    }

    #[test]
    fn one_wild_point_moves_least_squares_and_not_the_median_slope() {
        let mut points: Vec<(f64, f64)> = (0..21).map(|x| (f64::from(x), f64::from(x) * 0.5)).collect();
        points[20].1 = 1e6;
        let line = theil_sen(&points).expect("a line");
        assert!((line.slope - 0.5).abs() < 1e-9, "{line:?}");
        assert!(least_squares(&points).expect("a line").line.slope > 1_000.0);
    }

    proptest! {
        #[test]
        fn the_median_slope_is_that_of_all_slopes_sorted(
            points in prop::collection::vec((-20i32..20, prop_oneof![-5i32..5, -1_000_000i32..1_000_000]), 0..40),
        ) {
            let points: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (f64::from(x), f64::from(y) / 8.0)).collect();
            let mut slopes = Vec::new();
            for (index, a) in points.iter().enumerate() {
                slopes.extend(points[index + 1..].iter().filter(|b| a.0 != b.0).map(|b| (b.1 - a.1) / (b.0 - a.0)));
            }
            slopes.sort_by(f64::total_cmp);
            prop_assert_eq!(median_slope(&points), median_sorted(&slopes));
        }
    }
}
