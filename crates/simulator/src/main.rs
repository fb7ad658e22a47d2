//! `whatsapp-sim`: a local WhatsApp Cloud API with phones in it.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use simulator::{
    PhoneKind, PhoneSpec, Simulator, SimulatorConfig, StatusLevel, WindowRefusal, ingest_load, load, scenario,
};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A local WhatsApp Cloud API with phones in it
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the Graph API, the control API and the chat page (the default)
    Serve(ServeArgs),
    /// Send signed webhooks at a rate and measure webhook to answer and webhook to reply
    Load(load::LoadArgs),
    /// Send nothing but signed webhooks, as cheap as they can be made, and measure the answers
    IngestLoad(ingest_load::IngestLoadArgs),
    /// Play scripted conversations from files
    Run(scenario::RunArgs),
}

#[derive(Args, Clone)]
struct ServeArgs {
    /// Where to listen
    #[arg(long, env = "WHATSAPP_SIM_BIND", value_name = "ADDRESS", default_value = "127.0.0.1:7100")]
    bind: SocketAddr,
    /// Base URL for media links, if clients reach this server by another name
    #[arg(long, env = "WHATSAPP_SIM_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Where webhooks go
    #[arg(long, env = "WHATSAPP_SIM_WEBHOOK_URL", value_name = "URL")]
    webhook_url: Option<String>,
    /// Key of the signature on webhooks
    #[arg(long, env = "WHATSAPP_SIM_APP_SECRET", hide_env_values = true, default_value = "simulator-app-secret")]
    app_secret: String,
    /// What hub.verify_token carries in the handshake
    #[arg(long, env = "WHATSAPP_SIM_VERIFY_TOKEN", hide_env_values = true, default_value = "simulator-verify-token")]
    verify_token: String,
    /// The bearer token that the Graph API accepts
    #[arg(long, env = "WHATSAPP_SIM_ACCESS_TOKEN", hide_env_values = true, default_value = "simulator-access-token")]
    access_token: String,
    /// Id of the business phone number
    #[arg(long, env = "WHATSAPP_SIM_PHONE_NUMBER_ID", value_name = "ID", default_value = "106540352242922")]
    phone_number_id: String,
    /// Id of the WhatsApp Business Account
    #[arg(long, env = "WHATSAPP_SIM_WABA_ID", value_name = "ID", default_value = "102290129340398")]
    waba_id: String,
    /// The business number, digits
    #[arg(long, env = "WHATSAPP_SIM_DISPLAY_PHONE_NUMBER", value_name = "DIGITS", default_value = "15550783881")]
    display_phone_number: String,
    /// The business's verified name
    #[arg(long, env = "WHATSAPP_SIM_VERIFIED_NAME", value_name = "NAME", default_value = "Simulated Business")]
    verified_name: String,
    /// Seed of ids and names; without it every start is different
    #[arg(long, env = "WHATSAPP_SIM_SEED")]
    seed: Option<u64>,
    /// People to begin with, of all four kinds in turn
    #[arg(long, env = "WHATSAPP_SIM_PHONES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000))]
    phones: u32,
    /// Know so many of the people whom ingest-load writes as, to take the replies; their windows are open
    #[arg(long, env = "WHATSAPP_SIM_LOAD_PEOPLE", value_name = "N", default_value_t = 0)]
    load_people: u32,
    /// Phones read what arrives by themselves
    #[arg(long, env = "WHATSAPP_SIM_AUTO_READ")]
    auto_read: bool,
    #[command(flatten)]
    timing: TimingArgs,
    #[command(flatten)]
    policy: PolicyArgs,
}

#[derive(Args, Clone)]
struct TimingArgs {
    /// From acceptance to the sent status, in milliseconds
    #[arg(long, env = "WHATSAPP_SIM_SENT_AFTER_MILLISECONDS", value_name = "MS", default_value_t = 10)]
    sent_after_milliseconds: u64,
    /// From sent to delivered, in milliseconds
    #[arg(long, env = "WHATSAPP_SIM_DELIVERED_AFTER_MILLISECONDS", value_name = "MS", default_value_t = 40)]
    delivered_after_milliseconds: u64,
    /// From delivered to read where phones read by themselves, in milliseconds
    #[arg(long, env = "WHATSAPP_SIM_READ_AFTER_MILLISECONDS", value_name = "MS", default_value_t = 200)]
    read_after_milliseconds: u64,
    /// Until a new template is approved, in milliseconds
    #[arg(long, env = "WHATSAPP_SIM_TEMPLATE_REVIEW_MILLISECONDS", value_name = "MS", default_value_t = 200)]
    template_review_milliseconds: u64,
    /// Statuses that are sent, apart from failed
    #[arg(long, env = "WHATSAPP_SIM_STATUSES", value_enum, value_delimiter = ',', default_values_t = StatusLevel::ALL)]
    statuses: Vec<StatusLevel>,
    /// Statuses that share a webhook, at most, if they come within 20 milliseconds
    #[arg(long, env = "WHATSAPP_SIM_STATUS_BATCH_MAX", value_name = "N", default_value_t = 1)]
    status_batch_max: usize,
    /// Webhook requests in flight at the same time
    #[arg(long, env = "WHATSAPP_SIM_DELIVERY_CONCURRENCY", value_name = "N", default_value_t = 32)]
    delivery_concurrency: usize,
    /// How long to wait for the answer to a webhook, in milliseconds
    #[arg(long, env = "WHATSAPP_SIM_DELIVERY_TIMEOUT_MILLISECONDS", value_name = "MS", default_value_t = 20_000)]
    delivery_timeout_milliseconds: u64,
    /// Pause before the first redelivery of a webhook, in milliseconds; doubles from then on
    #[arg(long, env = "WHATSAPP_SIM_RETRY_DELAY_MILLISECONDS", value_name = "MS", default_value_t = 200)]
    retry_delay_milliseconds: u64,
}

#[derive(Args, Clone)]
struct PolicyArgs {
    /// Enforce the pair limit (131056) and the throughput of the number (130429)
    #[arg(long, env = "WHATSAPP_SIM_ENFORCE_PACE")]
    enforce_pace: bool,
    /// Messages a second, in and out together, while pace is enforced
    #[arg(long, env = "WHATSAPP_SIM_THROUGHPUT", value_name = "N", default_value_t = 80)]
    throughput_messages_per_second: u32,
    /// How a free-form message outside the 24-hour window is refused
    #[arg(long, env = "WHATSAPP_SIM_WINDOW_REFUSAL", value_enum, default_value_t = WindowRefusal::Status)]
    window_refusal: WindowRefusal,
    /// Only these phones and user ids may be written to, as on a test number (131030)
    #[arg(long, env = "WHATSAPP_SIM_RECIPIENT_ALLOW_LIST", value_name = "ID", value_delimiter = ',')]
    recipient_allow_list: Vec<String>,
    /// Service messages a month that cost nothing
    #[arg(long, env = "WHATSAPP_SIM_FREE_SERVICE_MESSAGES", value_name = "N", default_value_t = 1_000)]
    free_service_messages_per_month: u32,
    /// The account cannot pay: service messages past the allowance fail (131042)
    #[arg(long, env = "WHATSAPP_SIM_NO_PAYMENT_METHOD")]
    no_payment_method: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    runtime(&cli)?.block_on(async {
        match cli.command {
            None => serve(cli.serve).await.map(|()| ExitCode::SUCCESS),
            Some(Command::Serve(args)) => serve(args).await.map(|()| ExitCode::SUCCESS),
            Some(Command::Load(args)) => load::run(args).await.map(|()| ExitCode::SUCCESS),
            Some(Command::IngestLoad(args)) => ingest_load::run(args).await.map(|()| ExitCode::SUCCESS),
            Some(Command::Run(args)) => scenario::run(args).await,
        }
    })
}

/// Load shares the machine with what it measures: one thread costs least, since nothing is handed from one to another.
fn runtime(cli: &Cli) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match cli.command {
        Some(Command::Load(_) | Command::IngestLoad(_)) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let (phones, load_people) = (args.phones, args.load_people);
    let simulator = Simulator::start(config(args)).await.context("the simulator did not start")?;
    let kinds = [PhoneKind::Username, PhoneKind::PhoneAndBsuid, PhoneKind::ParentBsuid, PhoneKind::Phone];
    for kind in kinds.into_iter().cycle().take(phones as usize) {
        simulator.add_phone(PhoneSpec { kind: Some(kind), ..PhoneSpec::default() })?;
    }
    simulator.add_load_people(load_people)?;
    println!("chat page   {}/", simulator.url());
    println!("Graph API   {}/v25.0/…", simulator.url());
    println!("control API {}/sim/state", simulator.url());
    tokio::signal::ctrl_c().await.context("cannot wait for the signal to stop")?;
    simulator.stop().await;
    Ok(())
}

fn config(args: ServeArgs) -> SimulatorConfig {
    let (timing, policy) = (args.timing, args.policy);
    SimulatorConfig {
        bind: args.bind,
        public_url: args.public_url,
        app_secret: args.app_secret,
        verify_token: args.verify_token,
        access_token: args.access_token,
        phone_number_id: args.phone_number_id,
        waba_id: args.waba_id,
        display_phone_number: args.display_phone_number,
        verified_name: args.verified_name,
        webhook_url: args.webhook_url,
        seed: args.seed.unwrap_or_else(SimulatorConfig::fresh_seed),
        auto_read: args.auto_read,
        sent_after_milliseconds: timing.sent_after_milliseconds,
        delivered_after_milliseconds: timing.delivered_after_milliseconds,
        read_after_milliseconds: timing.read_after_milliseconds,
        template_review_milliseconds: timing.template_review_milliseconds,
        enforce_pace: policy.enforce_pace,
        throughput_messages_per_second: policy.throughput_messages_per_second,
        window_refusal: policy.window_refusal,
        recipient_allow_list: policy.recipient_allow_list,
        free_service_messages_per_month: policy.free_service_messages_per_month,
        payment_method: !policy.no_payment_method,
        statuses: timing.statuses,
        status_batch_max: timing.status_batch_max,
        delivery_concurrency: timing.delivery_concurrency,
        delivery_timeout_milliseconds: timing.delivery_timeout_milliseconds,
        retry_delay_milliseconds: timing.retry_delay_milliseconds,
    }
}
