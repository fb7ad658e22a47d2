//! `micai dev`: everything on this machine, with a simulated WhatsApp and a sample agent.

use anyhow::Context;
use secrecy::ExposeSecret;
use simulator::{Simulator, SimulatorConfig};

use crate::agent::triggers::keyword_bytes;
use crate::app::{App, Roles};
use crate::cli::DevArgs;
use crate::config::{Config, DEV_ACCESS_TOKEN, DEV_ADMIN_API_KEY, DEV_APP_SECRET, DEV_VERIFY_TOKEN};
use crate::domain::agent::AgentId;
use crate::domain::audit::Actor;
use crate::domain::rule::{Rule, RuleAction, RuleKind};
use crate::store::Store;

/// Settings that `micai dev` brings; file and environment still win.
pub fn presets(args: &DevArgs) -> Vec<(&'static str, String)> {
    let defaults = SimulatorConfig::default();
    vec![
        ("database_url", "sqlite:///micai-dev.db".to_owned()),
        ("whatsapp_app_secret", DEV_APP_SECRET.to_owned()),
        ("whatsapp_verify_token", DEV_VERIFY_TOKEN.to_owned()),
        ("whatsapp_access_token", DEV_ACCESS_TOKEN.to_owned()),
        ("admin_api_key", DEV_ADMIN_API_KEY.to_owned()),
        ("whatsapp_phone_number_id", defaults.phone_number_id),
        ("whatsapp_business_account_id", defaults.waba_id),
        ("whatsapp_api_url", format!("http://{}", args.simulator_bind)),
        // It goes to loopback, not to people.
        ("outbound_reply_enabled", "true".to_owned()),
    ]
}

/// Runs platform and simulator until the process is asked to stop.
///
/// # Errors
/// A sentence about what could not be started.
pub async fn run(args: &DevArgs, config: &Config) -> anyhow::Result<()> {
    let secret = |value: Option<&secrecy::SecretString>| value.map(|one| one.expose_secret().to_owned());
    let defaults = SimulatorConfig::default();
    let simulator = Simulator::start(SimulatorConfig {
        bind: args.simulator_bind,
        app_secret: secret(config.whatsapp_app_secret.first()).unwrap_or(defaults.app_secret),
        verify_token: secret(config.whatsapp_verify_token.as_ref()).unwrap_or(defaults.verify_token),
        access_token: secret(config.whatsapp_access_token.as_ref()).unwrap_or(defaults.access_token),
        phone_number_id: config.whatsapp_phone_number_id.clone().unwrap_or(defaults.phone_number_id),
        waba_id: config.whatsapp_business_account_id.clone().unwrap_or(defaults.waba_id),
        // The database outlives the simulator: message ids must not come again.
        seed: SimulatorConfig::fresh_seed(),
        ..SimulatorConfig::default()
    })
    .await
    .context("the simulated WhatsApp could not be started (--simulator-bind says where it listens)")?;
    let chat = simulator.url();
    crate::run::run(config, Roles::SERVE, async |app| {
        sample_agent(app).await?;
        let platform = app.address().map(|address| format!("http://{address}")).unwrap_or_default();
        simulator.set_webhook(Some(&format!("{platform}/webhook")))?;
        let admin_key = secret(config.admin_api_key.as_ref()).unwrap_or_default();
        greet(&platform, &chat, &admin_key);
        Ok(())
    })
    .await?;
    simulator.stop().await;
    Ok(())
}

fn greet(platform: &str, chat: &str, admin_key: &str) {
    // A key of the operator's own is a secret; the well-known one is there to be used.
    let admin_key = if admin_key == DEV_ADMIN_API_KEY { admin_key } else { "your own" };
    println!(
        "ready\n\n  chat      {chat}\n            write \"michael: weather in Lisbon\"\n  platform  {platform}\n            \
         reference at {platform}/docs, x-admin-key: {admin_key}\n\nCtrl-C stops."
    );
}

/// Rules to try, unless there are some already.
async fn sample_agent(app: &App) -> anyhow::Result<()> {
    let store: &Store = app.store();
    let agent_id = AgentId::default_agent();
    if !store.rules(Some(&agent_id), "", 1).await?.is_empty() {
        return Ok(());
    }
    for rule in sample_rules(&agent_id) {
        store.save_rule(&rule, keyword_bytes(&rule), &Actor::Platform).await?;
    }
    Ok(())
}

fn sample_rules(agent_id: &AgentId) -> Vec<Rule> {
    let rule = |id: &str, keywords: &[&str], reply_text: &str| Rule {
        id: id.to_owned(),
        agent_id: agent_id.clone(),
        kind: RuleKind::Keyword,
        enabled: true,
        priority: 100,
        keywords: keywords.iter().map(|keyword| (*keyword).to_owned()).collect(),
        whole_word: true,
        prefix: None,
        action: RuleAction::ReplyText,
        reply_text: reply_text.to_owned(),
    };
    vec![
        // Says so where no place is named; the weather itself comes from the tool.
        Rule {
            action: RuleAction::CallWeather,
            ..rule(
                "sample-weather",
                &["weather", "forecast"],
                "For which place? Just write its name, or ask at once: \"michael: weather in Lisbon\".",
            )
        },
        rule("sample-hours", &["hours", "open", "opening"], "We are open Monday to Friday, 9:00 to 17:00."),
        rule("sample-greeting", &["hello", "hi", "hey"], "Hello! Ask me about the weather or our opening hours."),
    ]
}
