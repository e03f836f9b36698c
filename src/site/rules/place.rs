//! Time zones and keyboards.

use super::nearest;
use crate::site::refusal::Refusal;
use jiff::tz::TimeZoneDatabase;

/// Layouts of xkb-data 2.35, `name description` per line, so that every base has them.
const KEYBOARDS: &str = include_str!("keyboards.txt");

/// A time zone of the IANA database.
pub fn time_zone(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    let known: Vec<String> = TimeZoneDatabase::bundled()
        .available()
        .map(|name| name.to_string())
        .collect();
    if known.iter().any(|name| name == text) {
        return Ok(text.into());
    }
    let nearest = nearest(text, known.iter().map(String::as_str));
    Err(Refusal::NoSuchTimeZone {
        value: text.into(),
        nearest,
    })
}

/// A keyboard layout of xkeyboard-config(7).
pub fn keyboard(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    if keyboards().any(|(name, _)| name == text) {
        return Ok(text.into());
    }
    // A person may give the language's name instead of its code.
    let by_name = keyboards()
        .find(|(_, description)| description.eq_ignore_ascii_case(text))
        .map(|(name, _)| name.to_string());
    let nearest = by_name.or_else(|| nearest(text, keyboards().map(|(name, _)| name)));
    Err(Refusal::NoSuchKeyboard {
        value: text.into(),
        nearest,
    })
}

/// Every layout with its description, sorted.
pub fn keyboards() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYBOARDS.lines().filter_map(|line| line.split_once(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_lists_are_taken() {
        for zone in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"] {
            assert_eq!(time_zone(zone), Ok(zone.into()));
        }
        for layout in ["us", "gb", "de", "fr", "ch"] {
            assert_eq!(keyboard(layout), Ok(layout.into()));
        }
        let names: Vec<&str> = keyboards().map(|(name, _)| name).collect();
        assert!(names.is_sorted() && names.len() > 90);
    }

    #[test]
    fn a_mistyped_place_is_refused_with_the_nearest_one() {
        let zone = |text| time_zone(text).expect_err("refused").to_string();
        assert_eq!(
            zone("Europe/Berln"),
            "there is no time zone `Europe/Berln`; did you mean Europe/Berlin?"
        );
        assert_eq!(
            zone("berlin"),
            "there is no time zone `berlin`; did you mean Europe/Berlin?"
        );
        assert_eq!(zone("../passwd"), "there is no time zone `../passwd`");
        let layout = |text| keyboard(text).expect_err("refused").to_string();
        assert_eq!(
            layout("german"),
            "there is no keyboard layout `german`; did you mean de?"
        );
        assert_eq!(layout("qwertz"), "there is no keyboard layout `qwertz`");
    }
}
