//! Grids over where dispatches are.

use super::*;

fn located(id: &str, latitude: f64, longitude: f64, minutes: f64) -> DispatchEvent {
    event_with(id, now_plus(0), |event| {
        (event.latitude, event.longitude) = (Some(latitude), Some(longitude));
        event.response_time_minutes = minutes;
    })
}

#[track_caller]
fn cells(org: &Org, metric: Metric, rows: u32, cols: u32) -> Vec<(u32, u32, f64)> {
    let grid = GridSize::new(rows, cols).expect("in range");
    let heatmap = org.ask(GetHeatmap { metric, grid }).expect("a heatmap");
    heatmap.cells.iter().map(|cell| (cell.row, cell.col, cell.value)).collect()
}

#[test]
fn cells_are_counted_from_the_south_west_corner_of_the_bounding_box() {
    let org = org_with([
        located("sw", 10.0, 20.0, 1.0),
        located("ne", 14.0, 28.0, 2.0),
        located("se", 10.0, 28.0, 4.0),
        located("middle", 12.0, 24.0, 8.0),
        located("just-below", 12.0 - 1e-9, 24.0 - 1e-9, 16.0),
        event("nowhere", now_plus(0)),
        event_with("open", now_plus(0), |event| {
            (event.latitude, event.longitude) = (Some(-80.0), Some(-170.0));
            event.status = Status::Active;
        }),
    ]);
    let count = Metric::DispatchCount;
    assert_eq!(cells(&org, count, 2, 2), [(0, 0, 2.0), (0, 1, 1.0), (1, 1, 2.0)]);
    assert_eq!(cells(&org, Metric::ResponseTime, 2, 2), [(0, 0, 8.5), (0, 1, 4.0), (1, 1, 5.0)]);
    // Rows and columns may differ; the last one takes its outer edge in.
    assert_eq!(cells(&org, count, 1, 4), [(0, 0, 1.0), (0, 1, 1.0), (0, 2, 1.0), (0, 3, 2.0)]);
    assert_eq!(cells(&org, count, 1_000, 1_000).last(), Some(&(999, 999, 1.0)));
    assert_eq!(cells(&org, Metric::SlaCompliance, 1, 1), [(0, 0, 1.0)]);
}

#[test]
fn a_box_without_extent_has_its_first_row_and_column() {
    let point = org_with([located("a", 1.5, 2.5, 1.0), located("b", 1.5, 2.5, 3.0)]);
    assert_eq!(cells(&point, Metric::ResponseTime, 10, 10), [(0, 0, 2.0)]);
    let line = org_with([located("a", 1.5, 0.0, 1.0), located("b", 1.5, 9.0, 3.0)]);
    assert_eq!(cells(&line, Metric::DispatchCount, 10, 10), [(0, 0, 1.0), (0, 9, 1.0)]);
    let heatmap =
        org_with([event("a", now_plus(0))]).ask(GetHeatmap { metric: Metric::Distance, grid: GridSize::default() });
    let heatmap = heatmap.expect("a heatmap");
    assert_eq!((heatmap.bounds, heatmap.cells), (None, vec![]));
}

#[test]
fn the_poles_and_the_antimeridian_are_ordinary_places() {
    let org = org_with([located("s", -90.0, -180.0, 1.0), located("n", 90.0, 180.0, 1.0), located("0", 0.0, 0.0, 1.0)]);
    assert_eq!(cells(&org, Metric::DispatchCount, 2, 2), [(0, 0, 1.0), (1, 1, 2.0)]);
}

#[test]
fn what_is_forgotten_moves_the_bounding_box() {
    let old =
        event_with("old", now_plus(-2 * HOUR), |event| (event.latitude, event.longitude) = (Some(0.0), Some(0.0)));
    let org = Org::given([Event::RetentionSet(RetentionSet { hours: 1 })]).at(t(NOW));
    let org = org.when(batch([old, located("a", 1.0, 1.0, 1.0), located("b", 2.0, 2.0, 1.0)])).then_accepted();
    assert_eq!(cells(&org, Metric::DispatchCount, 2, 2), [(0, 0, 1.0), (1, 1, 1.0)]);
}

#[test]
fn grids_are_read_from_text_and_checked() {
    let read = |text: &str| text.parse::<GridSize>().map(|grid| (grid.rows(), grid.cols()));
    for (text, expected) in [
        ("10x10", Some((10, 10))),
        ("1x1000", Some((1, 1_000))),
        ("0x5", None),
        ("5x1001", None),
        ("5", None),
        ("x", None),
        ("-1x5", None),
        ("+1x5", None),
        ("5x5x5", None),
        ("99999999999x1", None),
        ("5X5", None),
    ] {
        assert_eq!(read(text).ok(), expected, "{text}");
    }
    assert_eq!(read("0x5").expect_err("out of range").field, "grid_size");
}
