//! Availability Zones: every Region has three, whose ids and letters are not in the same order.

use std::collections::BTreeMap;

use snapferry_core::ids::Region;

/// The zones of a Region, id to name: `euc1-az1` to `eu-central-1c` and so on.
#[must_use]
pub fn zones(region: &Region) -> BTreeMap<String, String> {
    let short = short(region);
    let letters = [(1, 'c'), (2, 'a'), (3, 'b')];
    letters.map(|(n, letter)| (format!("{short}-az{n}"), format!("{region}{letter}"))).into()
}

/// `ap-southeast-1` is `apse1`.
fn short(region: &Region) -> String {
    let shorten = |(n, word)| match word {
        "northeast" => "ne",
        "northwest" => "nw",
        "southeast" => "se",
        "southwest" => "sw",
        word if n == 0 => word,
        word => word.get(..1).unwrap_or_default(),
    };
    let (words, number) = region.as_str().rsplit_once('-').unwrap_or_default();
    words.split('-').enumerate().map(shorten).chain([number]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id;

    #[test]
    fn zones_have_aws_ids() {
        for (region, wanted) in [
            ("eu-central-1", "euc1"),
            ("us-east-1", "use1"),
            ("ap-southeast-2", "apse2"),
            ("us-gov-west-1", "usgw1"),
        ] {
            assert_eq!(short(&id(region)), wanted);
        }
        let zones = zones(&id("eu-central-1"));
        assert_eq!(zones["euc1-az2"], "eu-central-1a");
        assert_eq!(zones.len(), 3);
    }
}
