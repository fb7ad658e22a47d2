//! Prices as tables and properties.
#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::contact::{Address, AddressKind, Person};
use crate::domain::outbound::Price;

const NOVEMBER_2026: i64 = 1_795_305_600;
const HEAD: &str = "Market,Currency,Marketing,Utility,Authentication,Authentication-International,Service\n";

fn table() -> PriceTable {
    PriceTable::compiled_in().unwrap()
}

fn at(seconds: i64) -> Circumstances {
    Circumstances {
        at: Timestamp::from_second(seconds).unwrap(),
        inside_free_entry_point: false,
        free_allowance_left: 0,
    }
}

fn address(kind: AddressKind, value: &str) -> Address {
    Address { kind, value: value.to_owned() }
}

#[test]
fn the_country_is_in_the_calling_code_or_the_user_id() {
    let (phone, bsuid, parent) = (AddressKind::Phone, AddressKind::Bsuid, AddressKind::ParentBsuid);
    for (kind, value, country) in [
        (phone, "5511999990000", "BR"),
        (phone, "+4915112345678", "DE"),
        (phone, "12025550100", "US"),
        (phone, "14165550100", "CA"),
        (phone, "18095550100", "DO"),
        (phone, "18765550100", "JM"),
        (phone, "12425550100", "BS"),
        (phone, "79161234567", "RU"),
        (phone, "77011234567", "KZ"),
        (phone, "76123456789", "KZ"),
        (phone, "441234567890", "GB"),
        (phone, "2126001234", "MA"),
        (phone, "8881234567", "ZZ"),
        (phone, "", "ZZ"),
        (phone, "ß1", "ZZ"),
        (bsuid, "BR.88123", "BR"),
        (bsuid, "KZ.1", "KZ"),
        (bsuid, "QQ.1", "ZZ"),
        (bsuid, "88123", "ZZ"),
        (parent, "IN.ENT.9", "IN"),
    ] {
        assert_eq!(table().country_of(&address(kind, value)), country, "{kind:?} {value}");
    }
}

#[test]
fn a_message_costs_what_its_market_charges() {
    for (country, category, seconds, market, micros) in [
        ("BR", Category::Marketing, NOVEMBER_2026, Some("Brazil"), 62_500),
        ("BR", Category::Service, NOVEMBER_2026, Some("Brazil"), 6_800),
        ("BR", Category::Service, SERVICE_PRICED_SINCE_SECONDS, Some("Brazil"), 6_800),
        ("BR", Category::Service, SERVICE_PRICED_SINCE_SECONDS - 1, Some("Brazil"), 0),
        ("BR", Category::Utility, SERVICE_PRICED_SINCE_SECONDS - 1, Some("Brazil"), 6_800),
        ("PT", Category::Utility, NOVEMBER_2026, Some("Rest of Western Europe"), 17_100),
        ("US", Category::Service, NOVEMBER_2026, Some("North America"), 3_400),
        ("IN", Category::AuthenticationInternational, NOVEMBER_2026, Some("India"), 28_000),
        ("DE", Category::AuthenticationInternational, NOVEMBER_2026, Some("Germany"), 55_000),
        ("CU", Category::Service, NOVEMBER_2026, Some("Other"), 7_700),
        ("ZZ", Category::Service, NOVEMBER_2026, None, 55_000),
        ("no country", Category::Marketing, NOVEMBER_2026, None, 159_700),
    ] {
        let estimate = table().estimate(country, category, at(seconds));
        assert_eq!((estimate.market.as_deref(), estimate.micros), (market, micros), "{country} {category:?}");
        assert_eq!(estimate.certainty == Certainty::UnknownCountry, market.is_none());
    }
    let unconfirmed = table().estimate("UA", Category::Service, at(NOVEMBER_2026));
    assert_eq!(unconfirmed.certainty, Certainty::Unconfirmed);
    assert!(unconfirmed.certainty.remark().is_some());
}

#[test]
fn what_is_free_says_why_and_what_it_would_cost() {
    let free = |category, circumstances| table().estimate("BR", category, circumstances);
    let entry = free(Category::Marketing, Circumstances { inside_free_entry_point: true, ..at(NOVEMBER_2026) });
    assert_eq!((entry.micros, entry.billed_micros, entry.basis), (0, 62_500, Basis::FreeEntryPoint));
    let left = Circumstances { free_allowance_left: 1, ..at(NOVEMBER_2026) };
    let allowance = free(Category::Service, left);
    assert_eq!((allowance.micros, allowance.billed_micros, allowance.basis), (0, 6_800, Basis::FreeAllowance));
    assert_eq!(free(Category::Utility, left).basis, Basis::Billed, "the free ones are service messages");
    let before =
        free(Category::Service, Circumstances { free_allowance_left: 1, ..at(SERVICE_PRICED_SINCE_SECONDS - 1) });
    assert_eq!(before.basis, Basis::FreeService);
}

#[test]
fn the_type_of_a_status_decides_what_it_costs() {
    let person = Person { phone: Some("5511999990000".to_owned()), ..Person::default() };
    for (kind, billable, category, micros, is_free) in [
        (Some("regular"), Some(true), Some("service"), 6_800, false),
        (Some("regular"), Some(false), Some("SERVICE"), 6_800, false),
        (Some("regular"), None, Some("utility"), 6_800, false),
        (Some("regular"), None, Some("marketing_lite"), 62_500, false),
        (Some("regular"), None, Some("group_utility"), 6_800, false),
        (Some("free_customer_service"), Some(true), Some("service"), 0, true),
        (Some("free_entry_point"), None, Some("marketing"), 0, true),
        (Some("free_entry_point"), None, Some("service"), 0, true),
        (None, Some(false), Some("service"), 0, true),
        (None, Some(true), Some("service"), 6_800, false),
        (Some("something_new"), None, Some("service"), 6_800, false),
        (Some("regular"), None, Some("general_purpose_ai"), 62_500, false),
        (Some("regular"), None, None, 62_500, false),
    ] {
        let price = Price {
            billable,
            model: Some("PMP".to_owned()),
            kind: kind.map(str::to_owned),
            category: category.map(str::to_owned),
            charge: None,
        };
        let charge = table().charge(&person, &price);
        assert_eq!((charge.micros, charge.is_free, charge.country.as_str()), (micros, is_free, "BR"), "{price:?}");
        let counts_as_entry = charge.category == "referral_conversion";
        assert_eq!(counts_as_entry, kind == Some("free_entry_point"), "{price:?}");
    }
    let person = Person { phone: Some("77011234567".to_owned()), bsuid: Some("RU.1".to_owned()), ..Person::default() };
    let price = Price { billable: None, model: None, kind: None, category: None, charge: None };
    assert_eq!(table().charge(&person, &price).country, "KZ", "the number is asked first");
    assert_eq!(table().charge(&Person::default(), &price).country, "ZZ");
}

#[test]
fn a_rate_card_is_read_as_meta_writes_it() {
    let text = "\"Cost per message in EUR on the WhatsApp Business Platform, effective January 1, 2027\",,,,,,\r\n\
                Market,Currency,Marketing,Utility,Authentication,\"Authentication-\nInternational\",Service\r\n\
                Brazil,EUR,0.05,0.0056,0.0056,n/a,\r\n\
                Other,EUR,1,0.5,0.5,n/a,0.25\r\n";
    let table = PriceTable::parse(text, "card").unwrap();
    assert_eq!(table.currency(), "EUR");
    assert!(table.source().unwrap().contains("effective January 1, 2027"));
    let micros = |country, category| table.estimate(country, category, at(NOVEMBER_2026)).micros;
    assert_eq!(micros("BR", Category::Service), 5_600, "as utility");
    assert_eq!(micros("DE", Category::Service), 250_000, "its own rate");
    assert_eq!(micros("DE", Category::Marketing), 1_000_000, "without a row: Other");
    assert_eq!(PriceTable::parse(&format!("{HEAD}Other,$US,1,1,1,n/a,n/a\n"), "card").unwrap().currency(), "USD");
}

#[test]
fn a_rate_card_with_faults_names_each_line() {
    let other = "Other,USD,1,1,1,n/a,n/a\n";
    for (text, expected) in [
        (String::new(), "no row that begins with Market"),
        (HEAD.to_owned(), "no row for the market Other"),
        (format!("{HEAD}Atlantis,USD,1,1,1\n{other}"), "line 2: the market \"Atlantis\" is not known"),
        (format!("{HEAD}{other}Brazil,USD,1,x,1\n"), "line 3: utility of Brazil is \"x\""),
        (format!("{HEAD}{other}Brazil,USD,1,-1,1\n"), "utility of Brazil is \"-1\""),
        (format!("{HEAD}{other}Brazil,USD,1,0.0000001,1\n"), "at most 6 digits"),
        (format!("{HEAD}{other}Brazil,USD,10001,1,1\n"), "marketing of Brazil is \"10001\"; it must be at most 10000"),
        (format!("{HEAD}{other}Brazil,EUR,1,1,1\n"), "Brazil is in EUR and the rows before it in USD"),
        (format!("{HEAD}{other}Brazil,euros,1,1,1\n"), "must be three letters"),
        (format!("{HEAD}{other}Brazil,USD,n/a,1,1\n"), "lacks marketing"),
        (format!("{HEAD}{other}{other}"), "line 3: Other stands in it twice"),
        (format!("# unconfirmed: Chile\n{HEAD}{other}"), "\"Chile\" unconfirmed"),
        (format!("# free_service_messages: many\n{HEAD}{other}"), "no whole number from 0"),
        ("Market,Currency,Marketing,Utility,Speed\n".to_owned(), "line 1: the column \"Speed\" is not known"),
        ("Market,Currency,Marketing,Utility\n".to_owned(), "line 1: the column authentication is missing"),
    ] {
        let error = PriceTable::parse(&text, "prices.csv").unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("prices.csv"), "{text}: {error}");
    }
    let many = format!("{HEAD}{}", "Atlantis,USD,1,1,1\n".repeat(1_000));
    assert_eq!(PriceTable::parse(&many, "card").unwrap_err().sentences().len(), 20, "not all of them");
}

proptest! {
    #[test]
    fn an_estimate_is_never_above_its_bill_and_the_unknown_is_the_dearest(
        country in "[A-Z]{2}",
        category in prop::sample::select(Category::ALL.to_vec()),
        seconds in 1_780_000_000..1_900_000_000_i64,
        inside in any::<bool>(),
        left in -5..5_i64,
    ) {
        let circumstances = Circumstances {
            at: Timestamp::from_second(seconds).unwrap(), inside_free_entry_point: inside, free_allowance_left: left,
        };
        let estimate = table().estimate(&country, category, circumstances);
        prop_assert!((0..=estimate.billed_micros).contains(&estimate.micros));
        prop_assert_eq!(estimate.micros == 0, estimate.basis != Basis::Billed);
        prop_assert!(estimate.billed_micros <= table().estimate("ZZ", category, circumstances).billed_micros);
    }

    #[test]
    fn an_amount_is_read_to_the_millionth(whole in 0..10_000_i64, parts in 0..1_000_000_i64) {
        let text = format!("{HEAD}Other,USD,{whole}.{parts:06},0,0,,\n");
        let table = PriceTable::parse(&text, "card").unwrap();
        prop_assert_eq!(
            table.estimate("BR", Category::Marketing, at(NOVEMBER_2026)).micros, whole * 1_000_000 + parts
        );
    }

    #[test]
    fn no_text_is_too_odd_to_be_refused_in_words(text in "(Market,Currency|[ -~\n\"])*") {
        if let Err(error) = PriceTable::parse(&text, "card") {
            prop_assert!(!error.sentences().is_empty());
        }
    }
}
