//! How much goes into a short message, and where a text that is too long is cut.

/// Characters that take one septet.
const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿\
                   abcdefghijklmnopqrstuvwxyzäöñüà";
/// Characters that take two.
const GSM_EXTENDED: &str = "^{}\\[~]|€\x0c";

/// Septets of a message, alone and as one of several.
const SEPTETS: (usize, usize) = (160, 153);
/// UTF-16 units of a message with any character that GSM 03.38 does not have.
const UNITS: (usize, usize) = (70, 67);

/// The text as far as it goes into so many messages; a cut is shown by three dots, which every alphabet has.
pub(super) fn fit(text: &str, segments_max: u8) -> String {
    let text = text.trim();
    let is_gsm = text.chars().all(|char| septets(char).is_some());
    let (alone, of_several) = if is_gsm { SEPTETS } else { UNITS };
    let size = |char: char| septets(char).filter(|_| is_gsm).unwrap_or_else(|| char.len_utf16());
    // A character that takes two may not be split between messages: leave one free in each.
    let room = if segments_max <= 1 { alone } else { usize::from(segments_max) * (of_several - 1) };
    if text.chars().map(size).sum::<usize>() <= room {
        return text.to_owned();
    }
    let mut left = room - 3;
    let kept = text.char_indices().find(|(_, char)| {
        let fits = size(*char) <= left;
        left = left.saturating_sub(size(*char));
        !fits
    });
    let end = kept.map_or(text.len(), |(at, _)| at);
    format!("{}...", text[..end].trim_end())
}

fn septets(char: char) -> Option<usize> {
    if GSM.contains(char) {
        return Some(1);
    }
    GSM_EXTENDED.contains(char).then_some(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_its_last_message_ends() {
        let a = |n| "a".repeat(n);
        let cases = [
            (a(160), 1, a(160)),
            (a(161), 1, a(157) + "..."),
            (a(304), 2, a(304)),
            (a(305), 2, a(301) + "..."),
            ("€".repeat(80), 1, "€".repeat(80)),
            ("€".repeat(81), 1, "€".repeat(78) + "..."),
            ("ж".repeat(70), 1, "ж".repeat(70)),
            ("ж".repeat(71), 1, "ж".repeat(67) + "..."),
            ("🚒".repeat(35), 1, "🚒".repeat(35)),
            ("🚒".repeat(36), 1, "🚒".repeat(33) + "..."),
            (format!(" {} ", a(3)), 1, a(3)),
            (a(156) + " b " + &a(10), 1, a(156) + "..."),
        ];
        for (text, segments, expected) in cases {
            assert_eq!(fit(&text, segments), expected, "{} characters", text.chars().count());
        }
    }

    #[test]
    fn the_alphabet_is_complete() {
        assert_eq!((GSM.chars().count(), GSM_EXTENDED.chars().count()), (127, 10));
    }
}
