//! A person gets another number or another BSUID (reference §2.4).

use serde_json::{Map, Value, json};

use crate::view::{ControlError, PhoneKind};
use crate::world::World;
use crate::world::bubble::Face;
use crate::world::inbound::Item;
use crate::world::people::digits;

impl World {
    /// The person gets another number, and with it another BSUID.
    pub(super) fn change_number(&mut self, phone_id: &str, given: Option<&str>) -> Result<Item, ControlError> {
        let new = match given {
            Some(given) => digits(given).ok_or_else(|| ControlError::Invalid(format!("{given} is no phone number")))?,
            None => self.ids.phone(),
        };
        if self.people.known(&new) || new == self.config.display_phone_number {
            return Err(ControlError::Invalid(format!("the number {new} is taken")));
        }
        let now = self.now();
        let phone = self.phone(phone_id)?;
        let (old, shown, name) = (phone.number.clone(), phone.number_shown(now), phone.name.clone());
        let mut system = Map::new();
        let body = if shown { format!("{name} changed from {old} to {new}") } else { format!("{name} changed number") };
        system.insert("type".to_owned(), json!("user_changed_number"));
        system.insert("body".to_owned(), json!(body));
        if shown {
            system.insert("wa_id".to_owned(), json!(new));
        }
        self.renew_user_ids(phone_id, &new, &mut system)?;
        self.people.forget_identifier(&old);
        self.people.index(phone_id, &new);
        if let Some(phone) = self.people.get_mut(phone_id) {
            phone.number = new;
        }
        self.phone_event(phone_id);
        Ok(self.system_item(phone_id, system, shown.then_some(old)))
    }

    pub(super) fn change_user_id(&mut self, phone_id: &str) -> Result<Item, ControlError> {
        let phone = self.phone(phone_id)?;
        if phone.kind == PhoneKind::Phone {
            return Err(ControlError::Invalid("this phone has no BSUID that could change".to_owned()));
        }
        let (number, name) = (phone.number.clone(), phone.name.clone());
        let mut system = Map::new();
        system.insert("type".to_owned(), json!("user_changed_user_id"));
        system.insert("body".to_owned(), json!(format!("{name}'s user id changed")));
        self.renew_user_ids(phone_id, &number, &mut system)?;
        self.phone_event(phone_id);
        Ok(self.system_item(phone_id, system, None))
    }

    /// New BSUIDs, written into the system message beside the old ones.
    fn renew_user_ids(
        &mut self,
        phone_id: &str,
        number: &str,
        system: &mut Map<String, Value>,
    ) -> Result<(), ControlError> {
        let phone = self.phone(phone_id)?;
        let (old, old_parent) = (phone.user_id.clone(), phone.parent_user_id.clone());
        let new = old.as_ref().map(|_| self.ids.user_id(number));
        let new_parent = old_parent.as_ref().map(|_| self.ids.parent_user_id(number));
        for (key, value) in [
            ("user_id", &new),
            ("previous_user_id", &old),
            ("parent_user_id", &new_parent),
            ("previous_parent_user_id", &old_parent),
        ] {
            if let Some(value) = value {
                system.insert(key.to_owned(), json!(value));
            }
        }
        for identifier in [&old, &old_parent].into_iter().flatten() {
            self.people.forget_identifier(identifier);
        }
        for identifier in [&new, &new_parent].into_iter().flatten() {
            self.people.index(phone_id, identifier);
        }
        if let Some(phone) = self.people.get_mut(phone_id) {
            phone.user_id = new;
            phone.parent_user_id = new_parent;
        }
        Ok(())
    }

    /// A system message: no `contacts`, and `from` only where the old number may be shown.
    fn system_item(&mut self, phone_id: &str, system: Map<String, Value>, from: Option<String>) -> Item {
        let wamid = self.ids.wamid();
        let mut message = Map::new();
        if let Some(from) = from {
            message.insert("from".to_owned(), json!(from));
        }
        message.insert("id".to_owned(), json!(wamid));
        message.insert("timestamp".to_owned(), json!(self.now().to_string()));
        message.insert("type".to_owned(), json!("system"));
        let face = Face::text(system.get("body").and_then(Value::as_str).unwrap_or_default());
        message.insert("system".to_owned(), Value::Object(system));
        let message = Value::Object(message);
        self.add_user_bubble(phone_id, &wamid, "system", face, None, &message);
        Item { wamid, message, contact: None, errors: None }
    }
}
