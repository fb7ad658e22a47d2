//! What `load` and `run` must know about the platform under test: where it listens, and what both sides share.

use std::net::SocketAddr;

use crate::SimulatorConfig;

/// The platform under test and the simulator that it talks to. No `Debug`: it holds secrets.
#[derive(Clone, clap::Args)]
pub struct PlatformArgs {
    /// The webhook of the platform under test
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8001/webhook")]
    pub webhook_url: String,
    /// Where the simulator listens; the platform's Graph API base URL must be http://BIND
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7100")]
    pub bind: SocketAddr,
    /// Key of the signature on webhooks
    #[arg(long, env = "WHATSAPP_SIM_APP_SECRET", hide_env_values = true, default_value = "simulator-app-secret")]
    pub app_secret: String,
    /// Bearer token that the platform sends
    #[arg(long, env = "WHATSAPP_SIM_ACCESS_TOKEN", hide_env_values = true, default_value = "simulator-access-token")]
    pub access_token: String,
    /// Id of the business phone number
    #[arg(long, default_value = "106540352242922")]
    pub phone_number_id: String,
}

impl PlatformArgs {
    /// A simulator for that platform, with message ids that no earlier run has used.
    pub fn simulator_config(&self) -> SimulatorConfig {
        SimulatorConfig {
            bind: self.bind,
            app_secret: self.app_secret.clone(),
            access_token: self.access_token.clone(),
            phone_number_id: self.phone_number_id.clone(),
            webhook_url: Some(self.webhook_url.clone()),
            seed: SimulatorConfig::fresh_seed(),
            ..SimulatorConfig::default()
        }
    }
}
