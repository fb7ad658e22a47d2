//! Every row of the table against an independent list, and the shapes in which errors arrive.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn later(after_seconds: impl Into<Option<u64>>) -> Verdict {
    Verdict::Later { after_seconds: after_seconds.into() }
}

/// Every code the reference of the protocol knows, grouped by what it asks for.
fn expectations() -> Vec<(&'static [i64], Verdict)> {
    use PauseScope::{Account, AccountTemplates, Calls, Country, Flow, Number, Template};
    use Verdict::{Auth, NeedsTemplate, Never, Pause, Retry, Unknown};
    vec![
        (&[0, 3, 10, 190, 200, 201, 250, 299, 131005], Auth),
        (&[1, 2, 130429, 131056, 139103], Retry),
        (&[4, 80007, 132069], later(3600)),
        (&[613, 133004, 133008, 133009], later(None)),
        (&[131057], later(60)),
        (&[133015, 2494100], later(300)),
        (&[134101], later(600)),
        (&[131049], later(86_400)),
        (&[133016], later(259_200)),
        (&[131047], NeedsTemplate),
        (&[33, 131037, 131045, 131048, 133010], Pause(Number)),
        (&[368, 131031, 131042], Pause(Account)),
        (&[131064], Pause(AccountTemplates)),
        (&[132001, 132015], Pause(Template)),
        (&[130497], Pause(Country)),
        (&[131044], Pause(Calls)),
        (&[132068], Pause(Flow)),
        (&[131000, 131016], Unknown),
        (&[100, 130403, 130472, 131008, 131009, 131020, 131021, 131026, 131030, 131041, 131050], Never),
        (&[131051, 131052, 131053, 131055, 131062, 131063, 134100, 134102, 135000, 137000], Never),
        (&[132000, 132005, 132007, 132008, 132012, 132016, 132018, 133000, 133005, 133006], Never),
        (&[134011, 139100, 139101, 139102, 147001, 147002, 147003, 147004, 147005], Never),
        (&[2388019, 2388039, 2388040, 2388047, 2388072, 2388073, 2388293, 2388299], Never),
        (&[2593107, 2593108, 2593109], Never),
    ]
}

#[test]
fn every_code_has_its_verdict() {
    let mut rows_seen = std::collections::BTreeSet::new();
    for (codes, expected) in expectations() {
        for &code in codes {
            let fact = describe(code).unwrap_or_else(|| panic!("{code} is missing"));
            assert_eq!(fact.verdict, expected, "{code} {}", fact.name);
            assert_eq!(verdict(code, false), expected, "{code}");
            // What the table says is final; a hint of Meta does not overrule it.
            assert_eq!(verdict(code, true), expected, "{code}");
            rows_seen.insert(fact.code);
        }
    }
    assert_eq!(rows_seen.len(), ERROR_FACTS.len(), "a row of the table is not covered by this test");
}

#[test]
fn the_table_is_ascending_and_without_overlap_or_empty_words() {
    for pair in ERROR_FACTS.windows(2) {
        assert!(pair[0].last_code < pair[1].code, "{} {}", pair[0].code, pair[1].code);
    }
    for fact in ERROR_FACTS {
        assert!(fact.code <= fact.last_code && !fact.name.is_empty() && fact.advice.ends_with('.'), "{}", fact.code);
    }
}

#[test]
fn unlisted_codes_follow_the_transient_mark() {
    for code in [ApiError::NO_CODE, 5, 199, 300, 131001, 999_999, i64::MAX, i64::MIN] {
        assert!(describe(code).is_none(), "{code}");
        assert_eq!(verdict(code, true), Verdict::Retry);
        assert_eq!(verdict(code, false), Verdict::Never);
    }
}

#[test]
fn a_failed_status_leaves_nothing_unknown() {
    for fact in ERROR_FACTS {
        assert_ne!(failed_status_verdict(fact.code, false), Verdict::Unknown, "{}", fact.code);
    }
    assert_eq!(failed_status_verdict(131000, false), Verdict::Retry);
    assert_eq!(failed_status_verdict(131047, false), Verdict::NeedsTemplate);
}

#[test]
fn an_answer_is_read_with_all_its_parts() {
    let body = br##"{"error":{"message":"(#131047) Re-engagement message","type":"OAuthException","code":131047,
        "error_subcode":2494007,"is_transient":false,"error_user_title":"T","error_user_msg":"M","fbtrace_id":"Az8",
        "error_data":{"messaging_product":"whatsapp","details":"More than 24 hours have passed"}}}"##;
    let error = ApiError::from_response(body).unwrap();
    assert_eq!((error.code, error.subcode), (131047, Some(2494007)));
    assert_eq!(error.details.as_deref(), Some("More than 24 hours have passed"));
    assert_eq!((error.kind.as_deref(), error.fbtrace_id.as_deref()), (Some("OAuthException"), Some("Az8")));
    assert_eq!((error.user_title.as_deref(), error.user_message.as_deref()), (Some("T"), Some("M")));
    assert_eq!(error.verdict(), Verdict::NeedsTemplate);
    assert_eq!(error.to_string(), "error 131047: More than 24 hours have passed");
}

#[test]
fn error_data_may_be_a_string_and_a_code_may_be_text_or_missing() {
    let error = ApiError::from_value(&json!({"code": "100", "error_data": "Param text must be a string"}));
    assert_eq!((error.code, error.details.as_deref()), (100, Some("Param text must be a string")));
    let error = ApiError::from_value(&json!({"title": "Something", "is_transient": true}));
    assert_eq!((error.code, error.verdict()), (ApiError::NO_CODE, Verdict::Retry));
    assert_eq!(error.to_string(), "error without a code: Something");
    for body in [&b"{}"[..], b"[]", b"{\"error\":\"x\"}", b"<html>", b""] {
        assert!(ApiError::from_response(body).is_none());
    }
}

proptest! {
    #[test]
    fn describe_finds_exactly_what_a_linear_search_finds(code in -10_i64..150_000) {
        let slow = ERROR_FACTS.iter().find(|fact| (fact.code..=fact.last_code).contains(&code));
        prop_assert_eq!(describe(code), slow);
    }
}
