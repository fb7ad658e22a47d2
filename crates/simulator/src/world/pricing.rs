//! What a message costs: the `pricing` object of statuses (reference §1.7, §7.2).

use serde_json::{Value, json};

/// Since when service messages cost and utility templates cost inside the window: 2026-10-01, Unix seconds.
const SERVICE_PRICED_SINCE: i64 = 1_790_812_800;

/// Free service messages used in the current month.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Allowance {
    /// Months since the year 0.
    month: i64,
    used: u32,
}

/// How a message is charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) category: String,
    pub(crate) kind: PriceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PriceKind {
    Regular,
    FreeService,
    FreeEntryPoint,
}

impl Price {
    pub(crate) fn json(&self) -> Value {
        let kind = match self.kind {
            PriceKind::Regular => "regular",
            PriceKind::FreeService => "free_customer_service",
            PriceKind::FreeEntryPoint => "free_entry_point",
        };
        json!({
            "billable": self.kind == PriceKind::Regular,
            "pricing_model": "PMP",
            "type": kind,
            "category": self.category,
        })
    }
}

/// What decides about a price.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charged<'a> {
    /// The template's category in lower case, or `None` for a service message.
    pub(crate) template: Option<&'a str>,
    pub(crate) in_window: bool,
    pub(crate) in_free_entry: bool,
    pub(crate) now: i64,
    pub(crate) free_per_month: u32,
}

impl Allowance {
    /// The price of one more message; counts it against the month.
    pub(crate) fn charge(&mut self, charged: Charged<'_>) -> Price {
        let category = charged.template.unwrap_or("service");
        let kind = match category {
            _ if charged.in_free_entry => PriceKind::FreeEntryPoint,
            "service" if charged.now < SERVICE_PRICED_SINCE => PriceKind::FreeService,
            "utility" if charged.now < SERVICE_PRICED_SINCE && charged.in_window => PriceKind::FreeService,
            "service" => self.service(charged),
            _ => PriceKind::Regular,
        };
        Price { category: category.to_owned(), kind }
    }

    fn service(&mut self, charged: Charged<'_>) -> PriceKind {
        let month = month_of(charged.now);
        if month != self.month {
            *self = Self { month, used: 0 };
        }
        if self.used < charged.free_per_month {
            self.used += 1;
            return PriceKind::FreeService;
        }
        PriceKind::Regular
    }
}

fn month_of(unix_seconds: i64) -> i64 {
    jiff::Timestamp::from_second(unix_seconds).map_or(0, |at| {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC).date();
        i64::from(date.year()) * 12 + i64::from(date.month())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOVEMBER_2026: i64 = 1_795_305_600;

    fn service(now: i64) -> Charged<'static> {
        Charged { template: None, in_window: true, in_free_entry: false, now, free_per_month: 2 }
    }

    #[test]
    fn the_allowance_is_used_up_and_comes_back_with_the_month() {
        let mut allowance = Allowance::default();
        let mut kinds = |now| allowance.charge(service(now)).kind;
        assert_eq!(kinds(NOVEMBER_2026), PriceKind::FreeService);
        assert_eq!(kinds(NOVEMBER_2026), PriceKind::FreeService);
        assert_eq!(kinds(NOVEMBER_2026), PriceKind::Regular);
        assert_eq!(kinds(NOVEMBER_2026 + 30 * 86_400), PriceKind::FreeService);
    }

    #[test]
    fn before_october_2026_service_was_free_without_counting() {
        let mut allowance = Allowance::default();
        assert!((0..10).all(|_| allowance.charge(service(SERVICE_PRICED_SINCE - 1)).kind == PriceKind::FreeService));
    }

    #[test]
    fn templates_are_charged_by_category_and_window() {
        let mut allowance = Allowance::default();
        let mut kind = |template, in_window, in_free_entry, now| {
            allowance
                .charge(Charged { template: Some(template), in_window, in_free_entry, now, free_per_month: 9 })
                .kind
        };
        assert_eq!(kind("utility", true, false, NOVEMBER_2026), PriceKind::Regular);
        assert_eq!(kind("utility", true, false, SERVICE_PRICED_SINCE - 1), PriceKind::FreeService);
        assert_eq!(kind("utility", false, false, SERVICE_PRICED_SINCE - 1), PriceKind::Regular);
        assert_eq!(kind("marketing", true, false, NOVEMBER_2026), PriceKind::Regular);
        assert_eq!(kind("marketing", true, true, NOVEMBER_2026), PriceKind::FreeEntryPoint);
    }
}
