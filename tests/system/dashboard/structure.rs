//! What CloudWatch takes for a dashboard.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use snapferry_tests::Result;
use snapferry_tests::stage::{HOME, Stage};

use super::{COPY, ROTATE, dashboards, template, widgets};

/// As <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html> has it.
/// Answers the picture.
pub(crate) fn check_structure(body: &Value) -> Result<String> {
    let mut grid: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (n, widget) in widgets(body).iter().enumerate() {
        let number = |name: &str| widget[name].as_u64().ok_or_else(|| format!("{name}: {widget}"));
        let (x, y) = (number("x")?, number("y")?);
        let (width, height) = (number("width")?, number("height")?);
        assert!(width > 0 && x + width <= 24 && height > 0 && height <= 1000, "{widget}");
        for cell in (y..y + height).flat_map(|y| (x..x + width).map(move |x| (y, x))) {
            assert_eq!(grid.insert(cell, n), None, "two widgets at {cell:?}");
        }
        let properties = &widget["properties"];
        assert!(properties["title"].is_string(), "{widget}");
        match widget["type"].as_str() {
            Some("alarm") => {
                assert!(properties["alarms"].as_array().is_some_and(|it| !it.is_empty()));
            }
            Some("log") => {
                assert_eq!(
                    (&properties["view"], &properties["region"]),
                    (&json!("table"), &json!(HOME))
                );
            }
            Some("metric") => {
                let view = properties["view"].as_str().unwrap_or_default();
                assert!(["timeSeries", "singleValue"].contains(&view), "{widget}");
                assert_eq!(properties["region"], HOME, "{widget}");
                for line in properties["annotations"]["horizontal"].as_array().into_iter().flatten()
                {
                    assert!(line["value"].is_number(), "{line}");
                }
                // As many searches as CloudWatch allows in one request.
                let searches = properties["metrics"].to_string().matches("SEARCH(").count();
                assert!(searches <= 5, "{widget}");
            }
            other => return Err(format!("no such widget here: {other:?}").into()),
        }
    }
    let rows = grid.keys().map(|(y, _)| y + 1).max().unwrap_or(0);
    let letter = |n: usize| char::from(b'a' + u8::try_from(n).unwrap_or(25));
    let picture = (0..rows).map(|y| {
        let cells = (0..24).map(|x| grid.get(&(y, x)).map_or('.', |n| letter(*n)));
        cells.chain(['\n']).collect::<String>()
    });
    Ok(picture.collect())
}

#[test]
fn dashboards_are_whole_for_all_values_of_parameters_and_only_of_what_is_there() -> Result<()> {
    let stage = Stage::new("dashboard-structure")?;
    let names = |role: &str, more: &[(&str, Value)]| -> Result<Vec<String>> {
        let dashboards = dashboards(&template(&stage, role, more)?)?;
        for (name, body) in &dashboards {
            let picture = check_structure(body)?;
            println!("{role}: {name}\n{picture}");
        }
        Ok(dashboards.into_keys().collect())
    };
    let ids = [ROTATE, COPY].map(|of| format!("{}Dashboard", of.prefix));
    for minutes in ["15", "2160", "9999999"] {
        let runs = u32::from(minutes == "15"); // a fleet, or none
        let more = [("StaleAfterMinutes", json!(minutes)), ("FleetConcurrency", json!(runs))];
        assert_eq!(names("central", &more)?, [ids[0].as_str()]);
        assert_eq!(names("vault", &more)?, [ids[1].as_str()]);
        assert_eq!(names("both", &more)?, [ids[1].as_str(), ids[0].as_str()]);
    }
    Ok(())
}
