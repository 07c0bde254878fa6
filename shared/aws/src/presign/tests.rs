use super::*;
use crate::testing::id;

const KEY: &str = "arn:aws:kms:us-east-1:111111111111:key/8af79514-350d-4c52-bac8-8985e84171c7";

fn request() -> CopySnapshot {
    let tags = [("Name", "Büro 1/2 & 文"), ("a=b", "")];
    CopySnapshot {
        source: id("snap-0123456789abcdef0"),
        source_region: id("eu-central-1"),
        source_encrypted: true,
        description: "Copied: 100% of a+b *~ é".into(),
        encrypted: true,
        kms_key: Some(id(KEY)),
        completion_duration_minutes: Some(90),
        tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    }
}

fn signing(session_token: Option<&str>) -> Signing<'_> {
    Signing {
        access_key_id: "ASIAIOSFODNN7EXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        session_token,
        at: "2026-11-22T02:15:07Z".parse().unwrap(),
    }
}

fn made(request: &CopySnapshot, endpoints: &Endpoints) -> String {
    let token = Some("IQoJb3JpZ2luX2VjE+/tok en==");
    presigned_url(request, &id("us-east-1"), endpoints, signing(token)).unwrap()
}

/// The names in a query.
fn names(url: &str) -> Vec<&str> {
    let (_, query) = url.split_once('?').unwrap();
    query.split('&').map(|member| member.split('=').next().unwrap()).collect()
}

#[test]
fn it_is_what_botocore_makes() {
    // Recorded from botocore 1.44.5; the end-to-end tests ask it again.
    let want = "https://ec2.eu-central-1.amazonaws.com/?Action=CopySnapshot&Version=2016-11-15\
        &Description=Copied%3A%20100%25%20of%20a%2Bb%20%2A~%20%C3%A9&Encrypted=true\
        &KmsKeyId=arn%3Aaws%3Akms%3Aus-east-1%3A111111111111%3Akey%2F8af79514-350d-4c52-bac8-8985e84171c7\
        &SourceRegion=eu-central-1&SourceSnapshotId=snap-0123456789abcdef0\
        &TagSpecification.1.ResourceType=snapshot&TagSpecification.1.Tag.1.Key=Name\
        &TagSpecification.1.Tag.1.Value=B%C3%BCro%201%2F2%20%26%20%E6%96%87\
        &TagSpecification.1.Tag.2.Key=a%3Db&TagSpecification.1.Tag.2.Value=\
        &CompletionDurationMinutes=90&DestinationRegion=us-east-1&X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=ASIAIOSFODNN7EXAMPLE%2F20261122%2Feu-central-1%2Fec2%2Faws4_request\
        &X-Amz-Date=20261122T021507Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host\
        &X-Amz-Security-Token=IQoJb3JpZ2luX2VjE%2B%2Ftok%20en%3D%3D\
        &X-Amz-Signature=91777bd0e5ec4770427e4d809d05dcabae16be0593044ac98b01c586f2048d1d";
    assert_eq!(made(&request(), &Endpoints::default()), want);
}

#[test]
fn every_partition_has_its_own_hosts_and_a_given_endpoint_is_for_the_source_too() {
    let given = |url: &str| Endpoints { url: Some(url.to_owned()), ..Endpoints::default() };
    let fips = Endpoints { use_fips: true, ..Endpoints::default() };
    let dual_stack = Endpoints { use_dual_stack: true, ..Endpoints::default() };
    let none = Endpoints::default();
    for (source, endpoints, host) in [
        ("eu-west-1", &given(""), "https://ec2.eu-west-1.amazonaws.com/?"),
        ("cn-northwest-1", &none, "https://ec2.cn-northwest-1.amazonaws.com.cn/?"),
        ("us-gov-east-1", &none, "https://ec2.us-gov-east-1.amazonaws.com/?"),
        ("ca-central-1", &fips, "https://ec2-fips.ca-central-1.amazonaws.com/?"),
        ("eu-west-1", &dual_stack, "https://ec2.eu-west-1.api.aws/?"),
        ("eu-west-1", &given("http://127.0.0.1:5000"), "http://127.0.0.1:5000/?"),
        ("eu-west-1", &given("https://proxy.example/ec2"), "https://proxy.example/ec2?"),
        ("eu-west-1", &given("https://ec2.us-east-1.inner/"), "https://ec2.eu-west-1.inner/?"),
    ] {
        let from = CopySnapshot { source_region: id(source), ..request() };
        let url = made(&from, endpoints);
        assert!(url.starts_with(host), "{url}");
        assert!(url.contains(&format!("%2F{source}%2Fec2%2Faws4_request&")), "{url}");
    }
}

#[test]
fn an_endpoint_that_cannot_be_is_an_error() {
    for url in ["proxy:5000", "https://"] {
        let endpoints = Endpoints { url: Some(url.to_owned()), ..Endpoints::default() };
        let err = presigned_url(&request(), &id("us-east-1"), &endpoints, signing(None));
        assert_eq!(err.unwrap_err().to_string(), format!("the endpoint {url:?} is no URL"));
    }
    for url in ["https://a b", "https:///"] {
        let endpoints = Endpoints { url: Some(url.to_owned()), ..Endpoints::default() };
        presigned_url(&request(), &id("us-east-1"), &endpoints, signing(None)).unwrap_err();
    }
    let endpoints =
        Endpoints { url: Some("https://proxy".into()), use_fips: true, use_dual_stack: false };
    presigned_url(&request(), &id("us-east-1"), &endpoints, signing(None)).unwrap_err();
}

#[test]
fn what_is_not_sent_is_not_in_it() {
    let bare = CopySnapshot {
        encrypted: false,
        kms_key: None,
        completion_duration_minutes: None,
        tags: snapferry_core::policy::Tags::new(),
        ..request()
    };
    let url = presigned_url(&bare, &id("us-east-1"), &Endpoints::default(), signing(None)).unwrap();
    let want = [
        "Action",
        "Version",
        "Description",
        "SourceRegion",
        "SourceSnapshotId",
        "TagSpecification.1.ResourceType",
        "DestinationRegion",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    ];
    assert_eq!(names(&url), want);
}

/// So many tags of so many characters, each of nine bytes in a URL.
fn tagged(tags: usize, characters: usize) -> CopySnapshot {
    let tag = |n| (format!("{n:02}"), "文".repeat(characters));
    CopySnapshot { tags: (0..tags).map(tag).collect(), ..request() }
}

#[test]
fn tags_that_make_it_too_long_are_left_out_and_nothing_makes_the_signer_panic() {
    let whole = made(&tagged(27, 256), &Endpoints::default());
    assert!(whole.len() > 60_000 && names(&whole).len() > 60, "{} bytes", whole.len());
    let short = made(&tagged(50, 256), &Endpoints::default());
    assert_eq!(
        names(&short)[..5],
        ["Action", "Version", "SourceRegion", "SourceSnapshotId", "DestinationRegion"]
    );
    assert_eq!(names(&short).len(), 5 + 7);
    for characters in 240..=256 {
        let url = made(&tagged(28, characters), &Endpoints::default());
        assert!(url.len() <= MAX_BYTES, "{characters} characters");
    }
    for (length, fits) in [(4_096, true), (21_000, true), (30_000, false)] {
        let token = "/".repeat(length);
        let result = presigned_url(
            &request(),
            &id("us-east-1"),
            &Endpoints::default(),
            signing(Some(&token)),
        );
        assert_eq!(result.is_ok(), fits, "{length}");
        if let Err(err) = result {
            assert!(err.to_string().starts_with("PresignedUrl would have"), "{err}");
        }
    }
}
