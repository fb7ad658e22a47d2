//! Every fixture through the parser: what comes out of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{EXPECTED, fixtures, label, load, message, text};
use serde_json::{Value, json};
use whatsapp::webhook::{
    self, AccountChange, AccountUpdate, ContactCard, DeliveryStatus, InteractiveReply, PreferenceChange, SystemKind,
    TemplateChange,
};
use whatsapp::{Content, Event, Identity, StatusUpdate};

fn status(name: &str) -> StatusUpdate {
    match load(name).events.into_iter().next() {
        Some(Event::Status(status)) => *status,
        other => panic!("{name}: {other:?}"),
    }
}

fn account(name: &str) -> AccountUpdate {
    match load(name).events.into_iter().next() {
        Some(Event::Account(update)) => *update,
        other => panic!("{name}: {other:?}"),
    }
}

fn template(name: &str) -> webhook::TemplateUpdate {
    match load(name).events.into_iter().next() {
        Some(Event::Template(update)) => *update,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_fixture_gives_its_events() {
    for (name, expected) in EXPECTED {
        let webhook = load(name);
        let labels: Vec<String> = webhook.events.iter().map(label).collect();
        assert_eq!(&labels, expected, "{name}");
        assert_eq!(webhook.object, "whatsapp_business_account", "{name}");
    }
    let mut files: Vec<String> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|file| file.unwrap().file_name().to_string_lossy().replace(".json", ""))
        .collect();
    files.sort();
    let listed: Vec<&str> = EXPECTED.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, listed, "the table and the folder differ");
}

#[test]
fn the_envelope_of_a_message_is_kept() {
    let message = message("text");
    assert_eq!((message.waba_id.as_str(), message.phone_number_id.as_str()), ("700001", "900001"));
    assert_eq!(message.display_phone_number.as_deref(), Some("15550001111"));
    assert_eq!((message.id.as_str(), message.timestamp_seconds), ("wamid.IN001", Some(1_790_000_001)));
    assert_eq!(message.content, text("oi, tudo bem? ☕"));
    let raw: Value = serde_json::from_str(message.raw.get()).unwrap();
    assert_eq!(raw["text"]["body"], "oi, tudo bem? ☕");
}

#[test]
fn a_sender_is_known_by_whatever_names_came() {
    // (file, preferred, reply)
    let table = [
        ("text", "BR.88123", "5511999990000"),
        ("text_phone_only", "5511999990000", "5511999990000"),
        ("text_bsuid_only", "BR.88123", "BR.88123"),
        ("text_parent_bsuid", "BR.88123", "BR.88123"),
        ("text_odd_user_id", "user:7f-3_x", "user:7f-3_x"),
    ];
    for (name, preferred, reply) in table {
        let sender = message(name).sender;
        assert_eq!(sender.preferred().unwrap().as_str(), preferred, "{name}");
        assert_eq!(sender.reply_identity().unwrap().as_str(), reply, "{name}");
    }
    let sender = message("text_bsuid_only").sender;
    assert_eq!(sender.phone, None, "an empty wa_id is no phone number");
    assert_eq!((sender.name.as_deref(), sender.username.as_deref()), (Some("Ana"), Some("ana.souza")));
    assert_eq!(message("text_parent_bsuid").sender.parent_bsuid.unwrap().as_str(), "BR.ENT.5501");
}

#[test]
fn contacts_are_joined_by_id_and_never_by_position() {
    let webhook = load("batch_contacts_swapped");
    let names: Vec<(String, String)> = webhook
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Message(message) => {
                Some((message.sender.name.clone().unwrap_or_default(), message.phone_number_id.clone()))
            }
            _ => None,
        })
        .collect();
    let expected = [("Ana Souza", "900001"), ("Bruno", "900001"), ("Ana Souza", "900002")];
    assert_eq!(names, expected.map(|(name, id)| (name.to_owned(), id.to_owned())));
    assert_eq!(webhook.events[3].waba_id(), Some("700009"));

    // A single contact of somebody else is not the sender.
    let body = json!({"entry": [{"id": "1", "changes": [{"field": "messages", "value": {
        "contacts": [{"profile": {"name": "Somebody"}, "wa_id": "4912345678", "user_id": "DE.1"}],
        "messages": [{"id": "wamid.X", "from_user_id": "BR.1", "type": "text", "text": {"body": "x"}}]}}]}]});
    let webhook = webhook::parse(body.to_string().as_bytes()).unwrap();
    let Event::Message(message) = &webhook.events[0] else { panic!() };
    assert_eq!((message.sender.name.as_deref(), message.sender.phone.as_ref()), (None, None));
}

#[test]
fn timestamps_come_as_text_and_as_number_and_absurd_ones_are_absent() {
    assert_eq!(message("text_integer_timestamp").timestamp_seconds, Some(1_790_000_007));
    assert_eq!(message("text_absurd_timestamp").timestamp_seconds, None);
}

#[test]
fn context_referral_and_group_are_read() {
    let context = message("text_reply").context.unwrap();
    assert_eq!((context.id.as_deref(), context.forwarded), (Some("wamid.OUT1"), false));
    let context = message("text_forwarded").context.unwrap();
    assert_eq!((context.id, context.frequently_forwarded), (None, true));
    let product = message("text_product_inquiry").context.unwrap().referred_product.unwrap();
    assert_eq!(product.product_retailer_id.as_deref(), Some("cup-7"));
    let referral = message("text_referral").referral.unwrap();
    assert_eq!((referral.source_type.as_deref(), referral.ctwa_clid.as_deref()), (Some("ad"), Some("ARx1")));
    assert_eq!(referral.welcome_message.as_deref(), Some("Ask us"));
    assert_eq!(message("text_group").group_id.unwrap().as_str(), "120363041234567890");
}

#[test]
fn media_kinds_carry_their_file() {
    for (name, id, caption) in
        [("image", "70001", Some("my cup")), ("video", "70003", Some("see")), ("voice", "70011", None)]
    {
        let content = message(name).content;
        let media = content.media().unwrap();
        assert_eq!((media.id.as_str(), media.caption.as_deref()), (id, caption), "{name}");
        assert!(media.sha256.is_some() && media.mime_type.is_some(), "{name}");
        assert_eq!(content.text(), caption, "{name}");
    }
    assert!(matches!(message("voice").content, Content::Audio { voice: true, .. }));
    assert!(matches!(message("audio_file").content, Content::Audio { voice: false, .. }));
    assert!(matches!(message("sticker").content, Content::Sticker { animated: true, .. }));
    let Content::Document { filename, media } = message("document").content else { panic!() };
    assert_eq!((filename.as_deref(), media.caption.as_deref()), (Some("invoice.pdf"), Some("paid")));
    let url = message("image_with_url").content.media().unwrap().url.clone().unwrap();
    assert!(url.starts_with("https://lookaside.fbsbx.com/"));
    assert_eq!(message("image_without_object").content, Content::Unknown { kind: "image".into() });
}

#[test]
fn places_cards_and_orders_are_read() {
    let Content::Location(location) = message("location").content else { panic!() };
    assert_eq!((location.latitude, location.longitude, location.name.as_deref()), (-23.5505, -46.6333, Some("Sé")));
    let Content::Contacts(cards) = message("contacts").content else { panic!() };
    assert_eq!((cards[0].name.as_deref(), cards[0].origin.as_deref()), (Some("Bia Lima"), Some("other")));
    assert_eq!(cards[0].phones[0].user.phone.as_ref().unwrap().as_str(), "5511988880000");
    assert_eq!(
        (cards[0].emails.as_slice(), cards[0].company.as_deref()),
        (&["bia@example.com".to_owned()][..], Some("Cups Ltd"))
    );
    assert_eq!(cards[1], ContactCard { origin: Some("contact_request".into()), ..ContactCard::default() });
    let Content::Order(order) = message("order").content else { panic!() };
    assert_eq!((order.items[0].quantity, order.items[0].item_price), (Some(2), Some(12.5)));
}

#[test]
fn taps_and_forms_are_read() {
    let reply = |name| match message(name).content {
        Content::Interactive(reply) => reply,
        other => panic!("{other:?}"),
    };
    assert_eq!(reply("interactive_button"), InteractiveReply::Button { id: "yes".into(), title: "Yes".into() });
    assert_eq!(message("interactive_list").content.text(), Some("Tomorrow"));
    assert_eq!(reply("interactive_flow").response().unwrap()["people"], 2);
    assert_eq!(reply("interactive_missing"), InteractiveReply::Missing);
    assert_eq!(reply("interactive_unknown"), InteractiveReply::Unknown { kind: "hologram_reply".into() });
    let InteractiveReply::CallPermission { response, expiration_timestamp_seconds, .. } =
        reply("interactive_call_permission")
    else {
        panic!()
    };
    assert_eq!((response.as_deref(), expiration_timestamp_seconds), (Some("accept"), Some(1_790_600_000)));
    let tap = message("button_without_context");
    assert_eq!(tap.content, Content::Button { payload: Some("STOP".into()), text: Some("Stop promotions".into()) });
    assert_eq!((tap.content.text(), tap.context), (Some("Stop promotions"), None));
    let Event::ValueError(error) = &load("interactive_missing").events[1] else { panic!() };
    assert_eq!((error.error.code, error.phone_number_id.as_str()), (131_000, "900001"));
}

#[test]
fn a_reaction_is_taken_back_by_an_empty_or_a_missing_emoji() {
    let emoji = |name| match message(name).content {
        Content::Reaction { emoji, .. } => emoji,
        other => panic!("{other:?}"),
    };
    assert_eq!(emoji("reaction").as_deref(), Some("👍🏽"));
    assert_eq!(emoji("reaction_removed_empty"), None);
    assert_eq!(emoji("reaction_removed_missing"), None);
}

#[test]
fn identity_changes_name_the_old_and_the_new() {
    let system = |name| match message(name).content {
        Content::System(event) => event,
        other => panic!("{other:?}"),
    };
    let names =
        |set: &whatsapp::IdentitySet| -> Vec<String> { set.identities().iter().map(Identity::to_string).collect() };
    for name in ["system_number_changed", "system_number_changed_2025"] {
        let event = system(name);
        assert_eq!(event.kind, SystemKind::NumberChanged, "{name}");
        assert_eq!(names(&event.previous), ["BR.88123", "5511999990000"], "{name}");
        assert_eq!(names(&event.current), ["BR.90555", "5511977770000"], "{name}");
    }
    let event = system("system_user_id_changed");
    assert_eq!(event.kind, SystemKind::UserIdChanged);
    assert_eq!((names(&event.previous), names(&event.current)), (vec!["BR.88123".into()], vec!["BR.90555".into()]));
    let event = system("system_identity_changed");
    assert_eq!((event.kind, event.identity_hash.as_deref()), (SystemKind::IdentityChanged, Some("DF2lS5v2W6x=")));
    assert_eq!(names(&event.current), ["BR.88123", "5511999990000"]);
    assert_eq!(system("system_other").kind, SystemKind::Other("user_grew_wings".into()));
}

#[test]
fn edits_revokes_and_what_is_not_understood_are_kept() {
    let edit = message("edit");
    assert_eq!(edit.content.text(), Some("oi, tudo ótimo"));
    assert_eq!(edit.context.unwrap().id.as_deref(), Some("wamid.OUT7"), "the context stands in the edited message");
    let Content::Edit { original_message_id, content } = message("edit_image").content else { panic!() };
    assert_eq!((original_message_id.as_str(), content.kind()), ("wamid.IN014", "image"));
    assert_eq!(message("revoke").content, Content::Revoke { original_message_id: "wamid.IN001".into() });
    let Content::Unsupported { kind, errors } = message("unsupported").content else { panic!() };
    assert_eq!((kind.as_str(), errors[0].code), ("poll", 131_051));
    let unknown = message("unknown_type");
    assert_eq!(unknown.content, Content::Unknown { kind: "hologram".into() });
    assert!(unknown.raw.get().contains("\"beam\""));
}

#[test]
fn statuses_carry_price_error_and_recipient() {
    let sent = status("status_sent");
    assert_eq!((sent.message_id.as_str(), sent.biz_opaque_callback_data.as_deref()), ("wamid.OUT1", Some("turn:42/1")));
    assert_eq!(sent.recipient().unwrap().as_str(), "BR.88123", "a phone send learns the BSUID here");
    assert_eq!(sent.recipient_group, None, "a phone number is no group");
    let pricing = sent.pricing.unwrap();
    assert_eq!((pricing.kind.as_deref(), pricing.category.as_deref()), (Some("regular"), Some("service")));
    assert_eq!(sent.conversation.unwrap().expiration_timestamp_seconds, Some(1_790_086_400));

    let failed = status("status_failed");
    assert_eq!((&failed.status, failed.errors[0].code), (&DeliveryStatus::Failed, 131_047));
    assert!(failed.errors[0].details.as_deref().unwrap().starts_with("More than 24 hours"));
    assert_eq!(failed.recipient().unwrap().as_str(), "5511999990000");
    let failed = status("status_failed_bsuid");
    assert_eq!((failed.recipient_phone, failed.errors[0].details.as_deref()), (None, Some("not reachable")));

    let delivered = status("status_delivered_bsuid_only");
    assert_eq!((delivered.recipient_phone, delivered.recipient_username.as_deref()), (None, Some("ana.souza")));
    assert_eq!(status("status_unknown").status, DeliveryStatus::Other("teleported".into()));
}

#[test]
fn a_status_of_a_group_names_the_participant() {
    let participants: Vec<(String, String)> = load("status_group")
        .events
        .iter()
        .map(|event| match event {
            Event::Status(status) => {
                assert_eq!(status.recipient_group.as_ref().unwrap().as_str(), "120363041234567890");
                (
                    status.recipient_phone.clone().unwrap().to_string(),
                    status.recipient_bsuid.clone().unwrap().to_string(),
                )
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [1, 2, 3].map(|n| (format!("551197777000{n}"), format!("BR.7000{n}")));
    assert_eq!(participants, expected);
}

#[test]
fn template_changes_are_typed() {
    let rejected = template("template_status");
    assert_eq!(rejected.template_id.as_deref(), Some("594425479261596"));
    assert_eq!((rejected.name.as_deref(), rejected.timestamp_seconds), (Some("order_ready"), Some(1_790_000_500)));
    let TemplateChange::Status { status, reason, recommendation, .. } = rejected.change else { panic!() };
    assert_eq!((status.as_str(), reason.as_deref()), ("REJECTED", Some("INCORRECT_CATEGORY")));
    assert_eq!(recommendation.as_deref(), Some("Use the category MARKETING."));
    assert!(matches!(template("template_approved").change, TemplateChange::Status { reason: None, .. }));
    let quality = TemplateChange::Quality { previous: Some("GREEN".into()), new: Some("YELLOW".into()) };
    assert_eq!(template("template_quality").change, quality);
    assert_eq!(template("template_components").change, TemplateChange::Components);
    let TemplateChange::Category { previous, new, .. } = template("template_category").change else { panic!() };
    assert_eq!((previous.as_deref(), new.as_deref()), (Some("UTILITY"), Some("MARKETING")));
}

#[test]
fn account_changes_are_typed() {
    let partner = account("account_partner_added");
    assert_eq!((partner.waba_id.as_str(), partner.entry_id.as_str()), ("700002", "310001"));
    let AccountChange::Account { event, violation, .. } = account("account_violation").change else { panic!() };
    assert_eq!((event.as_str(), violation.as_deref()), ("ACCOUNT_VIOLATION", Some("SPAM")));
    let AccountChange::Account { restrictions, .. } = account("account_restriction").change else { panic!() };
    let [restriction] = restrictions.as_slice() else { panic!("{restrictions:?}") };
    assert_eq!(restriction.kind, "RESTRICTED_BIZ_INITIATED_MESSAGING");
    assert_eq!(restriction.until_seconds, Some(1_790_600_000));
    let AccountChange::Account { ban_state, .. } = account("account_disabled").change else { panic!() };
    assert_eq!(ban_state.as_deref(), Some("SCHEDULE_FOR_DISABLE"));
    let AccountChange::Alert { severity, .. } = account("account_alert").change else { panic!() };
    assert_eq!(severity.as_deref(), Some("WARNING"));
    assert_eq!(account("account_review").change, AccountChange::Review { decision: Some("APPROVED".into()) });
    let capability =
        AccountChange::BusinessCapability { daily_conversations_max: Some("2000".into()), phone_numbers_max: Some(25) };
    assert_eq!(account("business_capability").change, capability);
    let AccountChange::PhoneQuality { event, .. } = account("phone_quality").change else { panic!() };
    assert_eq!(event.as_deref(), Some("THROUGHPUT_UPGRADE"));
    let AccountChange::PhoneName { rejection_reason, .. } = account("phone_name").change else { panic!() };
    assert_eq!(rejection_reason.as_deref(), Some("NAME_NOT_RELATED"));
    let AccountChange::Security { event, .. } = account("security").change else { panic!() };
    assert_eq!(event.as_deref(), Some("PIN_CHANGED"));
}

#[test]
fn preferences_and_echoes_name_the_user() {
    let webhook = load("user_preferences");
    let changes: Vec<PreferenceChange> = webhook
        .events
        .iter()
        .map(|event| match event {
            Event::UserPreference(update) => {
                assert_eq!(update.user.bsuid.as_ref().unwrap().as_str(), "BR.88123");
                assert!(update.timestamp_seconds.is_some());
                update.preference.change.clone()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(changes, [PreferenceChange::Stop, PreferenceChange::Signup, PreferenceChange::Resume]);
    let Event::Echo(echo) = &load("echo").events[0] else { panic!() };
    assert_eq!((echo.from.as_deref(), echo.to.bsuid.as_ref().unwrap().as_str()), (Some("15550001111"), "BR.88123"));
    assert_eq!(echo.content, text("I will take over"));
    let Event::Standby(change) = &load("standby").events[0] else { panic!() };
    assert_eq!(change.phone_number_id, "900001");
}

#[test]
fn content_survives_storing() {
    for (name, _) in EXPECTED {
        for event in load(name).events {
            if let Event::Message(message) = event {
                let stored = serde_json::to_string(&message.content).unwrap();
                assert_eq!(serde_json::from_str::<Content>(&stored).unwrap(), message.content, "{name}");
            }
        }
    }
}
