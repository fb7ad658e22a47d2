//! Faults by request: which are still to come, and which strikes now.

use std::collections::VecDeque;

use crate::view::{ControlError, FaultKind, FaultOn, FaultSpec};

/// Faults waiting at a time.
pub const FAULTS_MAX: usize = 1_000;
/// Longest delay a fault may cause, in milliseconds.
pub const FAULT_DELAY_MILLISECONDS_MAX: u64 = 600_000;

/// The faults still to come, in the order of adding.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: VecDeque<FaultSpec>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: FaultSpec) -> Result<(), ControlError> {
        check(&fault)?;
        if self.waiting.len() >= FAULTS_MAX {
            return Err(ControlError::Full(format!("{FAULTS_MAX} faults are waiting already")));
        }
        self.waiting.push_back(fault);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(crate) fn list(&self) -> Vec<FaultSpec> {
        self.waiting.iter().cloned().collect()
    }

    /// Takes one strike of the first fault that fits.
    pub(crate) fn take(
        &mut self,
        on: FaultOn,
        phone: Option<&str>,
        wanted: impl Fn(&FaultKind) -> bool,
    ) -> Option<FaultKind> {
        let fits = |fault: &FaultSpec| {
            fault.on == on && (fault.phone.is_none() || fault.phone.as_deref() == phone) && wanted(&fault.kind)
        };
        let place = self.waiting.iter().position(fits)?;
        let fault = self.waiting.get_mut(place)?;
        let kind = fault.kind.clone();
        fault.times -= 1;
        if fault.times == 0 {
            self.waiting.remove(place);
        }
        Some(kind)
    }
}

fn check(fault: &FaultSpec) -> Result<(), ControlError> {
    let refuse = |reason: &str| Err(ControlError::Invalid(reason.to_owned()));
    if fault.times == 0 {
        return refuse("times must be at least 1");
    }
    match (&fault.kind, fault.on) {
        (FaultKind::Duplicate | FaultKind::Reorder, FaultOn::Send | FaultOn::Media | FaultOn::Templates) => {
            refuse("duplicate and reorder strike webhooks only")
        }
        (FaultKind::Hold, FaultOn::Webhook | FaultOn::Media | FaultOn::Templates) => refuse("hold strikes sends only"),
        (FaultKind::Status { code, .. }, _) if !(400..=599).contains(code) => refuse("code must be 400 to 599"),
        (FaultKind::Delay { ms }, _) if *ms > FAULT_DELAY_MILLISECONDS_MAX => refuse("ms must be at most 600000"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fault(on: FaultOn, kind: FaultKind, times: u32, phone: Option<&str>) -> FaultSpec {
        FaultSpec { on, kind, times, phone: phone.map(str::to_owned) }
    }

    #[test]
    fn a_fault_strikes_as_often_as_asked_and_only_where_asked() {
        let mut faults = Faults::default();
        faults.add(fault(FaultOn::Send, FaultKind::Error { code: 131_049 }, 2, Some("phone-1"))).unwrap();
        let take = |faults: &mut Faults, on, phone| faults.take(on, phone, |_| true);
        assert_eq!(take(&mut faults, FaultOn::Send, Some("phone-2")), None);
        assert_eq!(take(&mut faults, FaultOn::Webhook, Some("phone-1")), None);
        assert!(take(&mut faults, FaultOn::Send, Some("phone-1")).is_some());
        assert!(take(&mut faults, FaultOn::Send, Some("phone-1")).is_some());
        assert_eq!(take(&mut faults, FaultOn::Send, Some("phone-1")), None);
    }

    #[test]
    fn faults_without_sense_are_refused() {
        let mut faults = Faults::default();
        assert!(faults.add(fault(FaultOn::Send, FaultKind::Duplicate, 1, None)).is_err());
        assert!(faults.add(fault(FaultOn::Webhook, FaultKind::Hold, 1, None)).is_err());
        assert!(faults.add(fault(FaultOn::Send, FaultKind::DropAnswer, 0, None)).is_err());
        let status = FaultKind::Status { code: 200, after_accepting: false };
        assert!(faults.add(fault(FaultOn::Send, status, 1, None)).is_err());
    }
}
