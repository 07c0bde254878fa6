//! EBS's events, in every form that AWS has published.

use serde_json::{Value, json};
use snapferry_core::event::{CopyEvent, InvalidEvent};

use crate::record::{Record, Share};
use crate::turns::Rng;

/// What EventBridge brings when a snapshot was shared.
pub(super) fn shared(share: &Share, rng: &mut Rng) -> Value {
    let (region, id) = (share.region.as_str(), share.snapshot.as_str());
    let arn = match rng.below(3) {
        0 => format!("arn:aws:ec2::{region}:snapshot/{id}"),
        1 => format!("arn:aws:ec2:{region}::snapshot/{id}"),
        _ => format!("arn:aws:ec2:{region}:{}:snapshot/{id}", share.owner),
    };
    // As a number it has lost its leading zeros.
    let owner = match share.owner.as_str().parse::<u64>() {
        Ok(number) if rng.below(2) == 0 => json!(number),
        _ => json!(share.owner.as_str()),
    };
    let detail = json!({"event": "shareSnapshot", "result": "succeeded", "cause": "",
                        "request-id": "", "snapshot_id": arn, "source": owner});
    event(region, share.with.as_str(), &arn, &detail)
}

/// What it brings when a copy has failed.
pub(super) fn failed(copy: &Record, source: &Record) -> Value {
    let region = copy.region.as_str();
    let arn = format!("arn:aws:ec2::{region}:snapshot/{}", copy.snapshot.id);
    let source = format!("arn:aws:ec2::{}:snapshot/{}", source.region, source.snapshot.id);
    let detail = json!({"event": "copySnapshot", "result": "failed",
                        "cause": "Given key ID is not accessible", "request-id": "",
                        "snapshot_id": arn, "source": source});
    event(region, copy.snapshot.owner.as_str(), &arn, &detail)
}

fn event(region: &str, account: &str, arn: &str, detail: &Value) -> Value {
    json!({"version": "0", "id": "01234567-0123-0123-0123-012345678901",
           "detail-type": "EBS Snapshot Notification", "source": "aws.ec2", "account": account,
           "time": "2026-11-22T02:00:00Z", "region": region, "resources": [arn],
           "detail": detail})
}

/// As the function reads it.
pub(super) fn read(event: &Value) -> Result<CopyEvent, InvalidEvent> {
    CopyEvent::parse(event)
}
