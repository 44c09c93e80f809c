//! Seconds since 1970 as RFC 3339, UTC, whole seconds.
//!
//! Belongs here: the civil calendar, and remembering the last day, since most files of a
//! directory share it. Source: RFC 3339; Howard Hinnant, "chrono-Compatible Low-Level Date
//! Algorithms", `civil_from_days`.

const DAY: i64 = 86_400;
/// 0000-01-01 and 9999-12-31: RFC 3339 has four digits for the year.
const FIRST_DAY: i64 = -719_528;
const LAST_DAY: i64 = 2_932_896;

/// The last day that was formatted.
#[derive(Debug)]
pub struct Days {
    day: i64,
    text: [u8; 11],
}

impl Default for Days {
    fn default() -> Self {
        Self {
            day: 0,
            text: *b"1970-01-01T",
        }
    }
}

impl Days {
    /// Appends `2025-01-15T10:30:00Z`. Years outside 0..9999 become the nearest moment inside.
    pub fn append(&mut self, out: &mut Vec<u8>, seconds: i64) {
        let seconds = seconds.clamp(FIRST_DAY * DAY, LAST_DAY * DAY + DAY - 1);
        let (day, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        if day != self.day {
            self.day = day;
            self.text = civil(day);
        }
        let [h, m, s] = [rest / 3600, rest / 60 % 60, rest % 60].map(two);
        out.extend_from_slice(&self.text);
        out.extend_from_slice(&[h[0], h[1], b':', m[0], m[1], b':', s[0], s[1], b'Z']);
    }
}

fn two(number: i64) -> [u8; 2] {
    let number = number.rem_euclid(100).to_le_bytes()[0];
    [b'0' + number / 10, b'0' + number % 10]
}

fn civil(day: i64) -> [u8; 11] {
    let shifted = day - FIRST_DAY - 60;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year + era * 400 + later;
    let ([a, b], [c, d]) = (two(year / 100), two(year));
    let ([e, f], [g, h]) = (two(month), two(date));
    [a, b, c, d, b'-', e, f, b'-', g, h, b'T']
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_rfc_3339() {
        let cases: &[(i64, &str)] = &[
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_736_937_000, "2025-01-15T10:30:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
        ];
        let mut days = Days::default();
        for (seconds, wanted) in cases {
            let mut out = Vec::new();
            days.append(&mut out, *seconds);
            assert_eq!(String::from_utf8(out).unwrap(), *wanted, "{seconds}");
        }
    }
}
