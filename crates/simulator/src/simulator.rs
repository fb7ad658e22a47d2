//! The handle on a running simulator: everything that the control API can do, for programs.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use crate::config::{SimulatorConfig, StartError};
use crate::deliver::{self, Handshake, signature};
use crate::shared::Shared;
use crate::view::{
    AcceptedView, Author, BubbleView, ClockMove, ClockView, ControlError, DeliveryView, FaultSpec, GraphRequestView,
    InboundKind, InboundSpec, PhoneSpec, PhoneView, SimEvent, StateView, TemplateView,
};
use crate::world::World;
use crate::world::log::Signing;
use crate::world::media::MediaFile;
use crate::world::webhooks::{About, escaped};
use crate::{control, graph_api, phone, server};

/// Messages in one batch.
pub const BATCH_MESSAGES_MAX: usize = 1_000;
/// Bytes of a raw webhook's body: a little more than Meta's 3 MB, so that the bound itself can be tested.
pub const RAW_WEBHOOK_BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// How a batch of messages is spread over the levels of a webhook body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// One entry, one change, many messages.
    #[default]
    Messages,
    /// One entry, a change for each message.
    Changes,
    /// An entry for each message.
    Entries,
}

/// A running simulator. Cloning gives another handle on the same one; it runs until [`Simulator::shutdown`] or the end
/// of the runtime.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use simulator::{PhoneSpec, Simulator, SimulatorConfig};
///
/// let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
/// let phone = simulator.add_phone(PhoneSpec::default()).unwrap();
/// simulator.say(&phone.id, "hello").unwrap();
/// assert_eq!(simulator.chat(&phone.id).unwrap()[0].text, "hello");
/// simulator.stop().await;
/// # });
/// ```
#[derive(Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    url: Arc<str>,
}

impl Simulator {
    /// Listens and starts the background work. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// The address is taken, or a setting makes no sense.
    pub async fn start(config: SimulatorConfig) -> Result<Self, StartError> {
        check(&config)?;
        let bind_error = |source| StartError::Bind { address: config.bind, source };
        let listener = TcpListener::bind(config.bind).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let url = base_url(&config, address);
        let shared = Arc::new(Shared::new(config, url.clone())?);
        let simulator = Self { shared: Arc::clone(&shared), address, url: url.into() };
        let router =
            phone::router().merge(control::router(simulator.clone())).merge(graph_api::router(Arc::clone(&shared)));
        shared.tasks.spawn(Arc::clone(&shared).work());
        shared.tasks.spawn(server::serve(Arc::clone(&shared), listener, router));
        Ok(simulator)
    }

    /// The base URL, without a slash at the end: the Graph API is at `{url}/v25.0/…`, the chat page at `{url}/`.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where webhooks go from now on; `None` is nowhere.
    ///
    /// # Errors
    /// It is no http or https URL.
    pub fn set_webhook(&self, url: Option<&str>) -> Result<(), ControlError> {
        if url.is_some_and(|url| !is_http_url(url)) {
            return Err(ControlError::Invalid("url must be an http or https address".to_owned()));
        }
        self.shared.act(|world| world.webhook_url = url.map(str::to_owned));
        Ok(())
    }

    /// Performs the GET handshake with the webhook address.
    pub async fn verify_webhook(&self) -> Handshake {
        deliver::handshake(&self.shared).await
    }

    /// How everything stands.
    pub fn state(&self) -> StateView {
        let clock = self.clock();
        let url = self.url();
        self.shared.act(|world| state(world, clock, url))
    }

    /// Adds a person.
    ///
    /// # Errors
    /// A given value is malformed or taken, or there are too many phones.
    pub fn add_phone(&self, spec: PhoneSpec) -> Result<PhoneView, ControlError> {
        self.shared.act(|world| world.add_phone(&spec))
    }

    /// Adds the first so many of the people whom `whatsapp-sim ingest-load` writes as, with open windows.
    ///
    /// # Errors
    /// There are too many phones, or one of these is there already.
    pub fn add_load_people(&self, people: u32) -> Result<(), ControlError> {
        (0..u64::from(people)).try_for_each(|person| self.shared.act(|world| world.add_load_person(person)))
    }

    /// All people, oldest first.
    pub fn phones(&self) -> Vec<PhoneView> {
        self.shared.act(|world| world.people.all().map(|phone| phone.view(world.now())).collect())
    }

    /// One person as it is now.
    ///
    /// # Errors
    /// There is no such phone.
    pub fn phone(&self, phone_id: &str) -> Result<PhoneView, ControlError> {
        self.shared.act(|world| world.phone(phone_id).map(|phone| phone.view(world.now())))
    }

    /// Removes a person and the chat.
    ///
    /// # Errors
    /// There is no such phone.
    pub fn remove_phone(&self, phone_id: &str) -> Result<(), ControlError> {
        self.shared.act(|world| world.remove_phone(phone_id))
    }

    /// The person writes a text. Gives the message's id.
    ///
    /// # Errors
    /// There is no such phone, or the text is empty or too long.
    pub fn say(&self, phone_id: &str, text: &str) -> Result<String, ControlError> {
        self.post(phone_id, InboundKind::Text { text: text.to_owned() }.into())
    }

    /// The person does anything a phone can do. Gives the message's id.
    ///
    /// # Errors
    /// The phone, file or bubble does not exist, or the message makes no sense.
    pub fn post(&self, phone_id: &str, spec: InboundSpec) -> Result<String, ControlError> {
        self.shared.act(|world| world.post(phone_id, &spec))
    }

    /// Several messages in one webhook body. Gives their ids; on an error no webhook is sent, though bubbles made
    /// before the bad message stay.
    ///
    /// # Errors
    /// As [`Simulator::post`], and if there are none or too many messages.
    pub fn post_batch(&self, messages: &[(String, InboundSpec)], split: Split) -> Result<Vec<String>, ControlError> {
        if !(1..=BATCH_MESSAGES_MAX).contains(&messages.len()) {
            return Err(ControlError::Invalid(format!("a batch has 1 to {BATCH_MESSAGES_MAX} messages")));
        }
        self.shared.act(|world| post_batch(world, messages, split))
    }

    /// Makes a message with everything that belongs to it, but leaves the webhook to the caller: body and signature.
    ///
    /// # Errors
    /// As [`Simulator::post`].
    pub fn compose(&self, phone_id: &str, spec: InboundSpec) -> Result<(Bytes, String), ControlError> {
        let body = self.compose_body(phone_id, spec)?;
        let signature = signature(&self.shared.config.app_secret, &body);
        Ok((body, signature))
    }

    pub(crate) fn compose_body(&self, phone_id: &str, spec: InboundSpec) -> Result<Bytes, ControlError> {
        self.shared.act(|world| {
            let item = world.compose(phone_id, &spec)?;
            let change = json!({ "value": world.items_value(vec![item]), "field": "messages" });
            let entry = world.entry(vec![change]);
            Ok(escaped(&json!({ "object": "whatsapp_business_account", "entry": [entry] })))
        })
    }

    /// Calls this with the phone of each message of the business, as it is accepted. Costs far less than
    /// [`Simulator::subscribe`]. There is one such listener: only the first stays.
    pub(crate) fn on_reply(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        _ = self.shared.reply_listener.set(Box::new(listener));
    }

    /// Stores a file that a person can then send. Gives its id.
    ///
    /// # Errors
    /// The file is empty or too large, or the type is none.
    pub fn upload(&self, mime_type: &str, filename: Option<&str>, bytes: Bytes) -> Result<String, ControlError> {
        self.shared.act(|world| world.store_media(Author::User, mime_type, filename.map(str::to_owned), bytes))
    }

    pub(crate) fn file(&self, media_id: &str) -> Result<MediaFile, ControlError> {
        let missing = || ControlError::NotFound(format!("there is no file {media_id}"));
        self.shared.act(|world| world.media.get(media_id, world.now()).cloned()).ok_or_else(missing)
    }

    /// The bubbles of a chat, oldest first.
    ///
    /// # Errors
    /// There is no such phone.
    pub fn chat(&self, phone_id: &str) -> Result<Vec<BubbleView>, ControlError> {
        self.shared.act(|world| Ok(world.phone(phone_id)?.chat.iter().map(|bubble| bubble.view(phone_id)).collect()))
    }

    /// The person opens the chat: what was delivered becomes read, the named voice notes played. Gives both counts.
    ///
    /// # Errors
    /// There is no such phone, or a named message is no voice note of the business.
    pub fn read(&self, phone_id: &str, played: &[String]) -> Result<(usize, usize), ControlError> {
        self.shared.act(|world| world.read_chat(phone_id, played))
    }

    /// The simulator's clock.
    pub fn clock(&self) -> ClockView {
        self.shared.clock.view()
    }

    /// Moves the clock by so many seconds.
    pub fn advance_clock(&self, seconds: i64) -> ClockView {
        self.shared.clock.advance(seconds);
        self.clock_moved()
    }

    /// Sets the clock to this Unix second.
    pub fn set_clock(&self, unix_seconds: i64) -> ClockView {
        self.shared.clock.set(unix_seconds);
        self.clock_moved()
    }

    pub(crate) fn move_clock(&self, moved: ClockMove) -> Result<ClockView, ControlError> {
        match (moved.advance_seconds, moved.set) {
            (Some(seconds), None) => Ok(self.advance_clock(seconds)),
            (None, Some(unix_seconds)) => Ok(self.set_clock(unix_seconds)),
            _ => Err(ControlError::Invalid("give either advance_seconds or set".to_owned())),
        }
    }

    fn clock_moved(&self) -> ClockView {
        let clock = self.clock();
        self.shared.act(|world| {
            world.event(|| SimEvent::Clock { clock });
            world.expire_typing(None);
        });
        clock
    }

    /// Adds a fault to come.
    ///
    /// # Errors
    /// The fault makes no sense there, or too many are waiting.
    pub fn add_fault(&self, fault: FaultSpec) -> Result<(), ControlError> {
        self.shared.act(|world| world.faults.add(fault))
    }

    /// The faults still to come.
    pub fn faults(&self) -> Vec<FaultSpec> {
        self.shared.act(|world| world.faults.list())
    }

    /// Takes all faults back.
    pub fn clear_faults(&self) {
        self.shared.act(|world| world.faults.clear());
    }

    /// Puts a template (by id or name) into a state, as a review would, and tells the webhook.
    ///
    /// # Errors
    /// There is no such template or state.
    pub fn set_template_status(
        &self,
        id_or_name: &str,
        status: &str,
        reason: Option<&str>,
    ) -> Result<TemplateView, ControlError> {
        self.shared.act(|world| world.set_template_status(id_or_name, status, reason))
    }

    /// Gives a template (by id or name) another quality and tells the webhook.
    ///
    /// # Errors
    /// There is no such template or quality.
    pub fn set_template_quality(&self, id_or_name: &str, quality: &str) -> Result<TemplateView, ControlError> {
        self.shared.act(|world| world.set_template_quality(id_or_name, quality))
    }

    /// Moves a template (by id or name) to another category and tells the webhook; with `only_announced` nothing is moved
    /// yet.
    ///
    /// # Errors
    /// There is no such template or category.
    pub fn set_template_category(
        &self,
        id_or_name: &str,
        category: &str,
        only_announced: bool,
    ) -> Result<TemplateView, ControlError> {
        self.shared.act(|world| world.set_template_category(id_or_name, category, only_announced))
    }

    /// Gives a template (by id or name) other words and tells the webhook.
    ///
    /// # Errors
    /// There is no such template, or it has no body.
    pub fn set_template_body(&self, id_or_name: &str, text: &str) -> Result<TemplateView, ControlError> {
        self.shared.act(|world| world.set_template_body(id_or_name, text))
    }

    /// Delivers any JSON once, as is. Gives the delivery's number.
    ///
    /// # Errors
    /// The body is too large.
    pub fn send_raw(&self, body: Bytes, signing: Signing) -> Result<u64, ControlError> {
        if body.len() > RAW_WEBHOOK_BYTES_MAX {
            return Err(ControlError::Invalid(format!("a body has at most {RAW_WEBHOOK_BYTES_MAX} bytes")));
        }
        let about = About { kind: "raw".to_owned(), ..About::default() };
        Ok(self.shared.act(|world| world.send_body(about, body, signing, 1)))
    }

    /// As [`Simulator::send_raw`] for a JSON value, written as Meta writes it.
    ///
    /// # Errors
    /// The body is too large.
    pub fn send_raw_json(&self, body: &Value, signing: Signing) -> Result<u64, ControlError> {
        self.send_raw(escaped(body), signing)
    }

    /// How many messages of the business were accepted, and when.
    pub fn accepted(&self) -> AcceptedView {
        self.shared.act(|world| world.accepted)
    }

    /// Every call that the Graph API received, oldest first.
    pub fn graph_requests(&self) -> Vec<GraphRequestView> {
        self.shared.act(|world| world.requests.all().cloned().collect())
    }

    pub(crate) fn newest_requests(&self, limit: usize) -> Vec<GraphRequestView> {
        self.shared.act(|world| world.requests.all().rev().take(limit).cloned().collect())
    }

    /// Webhooks and what became of them, newest first.
    pub fn deliveries(&self, limit: usize) -> Vec<DeliveryView> {
        self.shared.act(|world| world.deliveries.newest(limit))
    }

    /// Webhooks that were not acknowledged yet.
    pub fn deliveries_pending(&self) -> usize {
        self.shared.act(|world| world.deliveries.pending_count())
    }

    /// Waits until no status is due and every webhook is acknowledged or given up. With a webhook address that never
    /// answers this takes minutes: put a time limit around it.
    pub async fn wait_idle(&self) {
        self.shared.timers.idle().await;
    }

    /// What happens from now on. A slow reader loses the oldest of [`crate::shared::EVENTS_MAX`].
    pub fn subscribe(&self) -> broadcast::Receiver<SimEvent> {
        self.shared.events.subscribe()
    }

    /// Forgets phones, chats, media, faults and logs, and returns the clock to real time.
    pub fn reset(&self) {
        self.shared.clock.return_to_real_time();
        self.shared.act(World::reset);
    }

    pub(crate) fn stopping(&self) -> tokio_util::sync::CancellationToken {
        self.shared.cancel.clone()
    }

    /// Stops listening and delivering; waits at most [`crate::server::STOP_WAIT_MAX`] for what is in flight.
    pub async fn shutdown(&self) {
        self.shared.cancel.cancel();
        self.shared.tasks.close();
        _ = tokio::time::timeout(server::STOP_WAIT_MAX * 2, self.shared.tasks.wait()).await;
    }

    /// [`Simulator::shutdown`] for the last handle.
    pub async fn stop(self) {
        self.shutdown().await;
    }
}

fn check(config: &SimulatorConfig) -> Result<(), StartError> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let refuse = |sentence: &str| Err(StartError::Setting(sentence.to_owned()));
    if !digits(&config.phone_number_id) || !digits(&config.waba_id) || !digits(&config.display_phone_number) {
        return refuse("the phone number id, the account id and the display number are digits");
    }
    if config.app_secret.is_empty() || config.access_token.is_empty() || config.verify_token.is_empty() {
        return refuse("app secret, access token and verify token must not be empty");
    }
    if config.webhook_url.as_deref().is_some_and(|url| !is_http_url(url)) {
        return refuse("the webhook URL must be an http or https address");
    }
    if !(1..=BATCH_MESSAGES_MAX).contains(&config.status_batch_max) {
        return refuse("statuses of a webhook are 1 to 1,000");
    }
    if config.delivery_concurrency == 0 || config.throughput_messages_per_second == 0 {
        return refuse("delivery concurrency and throughput must be at least 1");
    }
    Ok(())
}

fn is_http_url(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// An unspecified address cannot be called: there the loopback address stands for it.
fn base_url(config: &SimulatorConfig, address: SocketAddr) -> String {
    if let Some(url) = &config.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    if address.ip().is_unspecified() {
        return format!("http://127.0.0.1:{}", address.port());
    }
    format!("http://{address}")
}

fn state(world: &World, clock: ClockView, url: String) -> StateView {
    let config = &world.config;
    StateView {
        url,
        webhook_url: world.webhook_url.clone(),
        phone_number_id: config.phone_number_id.clone(),
        waba_id: config.waba_id.clone(),
        display_phone_number: config.display_phone_number.clone(),
        verified_name: config.verified_name.clone(),
        clock,
        auto_read: config.auto_read,
        enforce_pace: config.enforce_pace,
        phones: world.people.all().map(|phone| phone.view(world.now())).collect(),
        templates: world.templates.all().iter().map(|template| template.view()).collect(),
        deliveries_pending: world.deliveries.pending_count(),
        faults: world.faults.list(),
    }
}

fn post_batch(
    world: &mut World,
    messages: &[(String, InboundSpec)],
    split: Split,
) -> Result<Vec<String>, ControlError> {
    let mut items = Vec::with_capacity(messages.len());
    for (phone_id, spec) in messages {
        items.push(world.compose(phone_id, spec)?);
    }
    let wamids: Vec<String> = items.iter().map(|item| item.wamid.clone()).collect();
    let phone_id = messages.first().map(|(phone_id, _)| phone_id.clone());
    let about = About { wamids: wamids.clone(), phone_id, kind: "message".to_owned() };
    let change = |value: Value| json!({ "value": value, "field": "messages" });
    let entries = match split {
        Split::Messages => vec![world.entry(vec![change(world.items_value(items))])],
        Split::Changes => {
            let changes = items.into_iter().map(|item| change(world.items_value(vec![item]))).collect();
            vec![world.entry(changes)]
        }
        Split::Entries => {
            items.into_iter().map(|item| world.entry(vec![change(world.items_value(vec![item]))])).collect()
        }
    };
    world.send_entries(about, entries);
    Ok(wamids)
}
