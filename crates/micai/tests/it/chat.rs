//! The chat page in a real browser: what a newcomer does first.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use simulator::{BubbleStatus, PhoneKind};

use crate::harness::{PATIENCE, Stage};

/// Where distributions put the browser.
const BROWSERS: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
/// Arguments that keep it alone, quiet and off the network.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--window-size=1280,900",
];
/// A phone held upright, in CSS pixels.
const PHONE_PIXELS: (u32, u32) = (390, 844);
/// The reply of the sample rule.
const REPLY: &str = "Sunny, 24 degrees.";

/// A browser window and the driver behind it. Both end when this is dropped.
struct Browser {
    client: Client,
    driver: Child,
    /// The browser's own process, which would outlive its driver.
    process_id: Option<u64>,
    /// Goes with the browser.
    _profile: tempfile::TempDir,
}

impl Browser {
    /// A window of a laptop, or of a phone.
    async fn open(is_phone: bool) -> Self {
        let browser = BROWSERS.iter().find_map(|name| in_path(name)).unwrap_or_else(|| missing("Chromium"));
        let chromedriver = in_path("chromedriver").unwrap_or_else(|| missing("chromedriver"));
        let port = free_port();
        let mut driver = Command::new(chromedriver)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let profile = tempfile::tempdir().expect("a folder");
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let mut options = json!({ "binary": browser, "args": arguments });
        if is_phone {
            let (width, height) = PHONE_PIXELS;
            let metrics = json!({ "width": width, "height": height, "pixelRatio": 2.0, "touch": true });
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        let client = connect(&mut driver, port, options).await;
        let process_id = client.capabilities().and_then(|facts| facts.get("goog:processID")?.as_u64());
        Self { client, driver, process_id, _profile: profile }
    }

    /// Waits until the page shows something that fits a CSS selector, and gives its text.
    async fn sees(&self, selector: &str) -> String {
        const SHOWN: &str = "const found = document.querySelector(arguments[0]);
            return found && found.getClientRects().length > 0 ? found.innerText : null;";
        let begun = Instant::now();
        loop {
            let shown = self.client.execute(SHOWN, vec![selector.into()]).await.expect("an answer");
            if let Some(text) = shown.as_str() {
                return text.to_owned();
            }
            if begun.elapsed() > PATIENCE {
                let page = self.client.execute("return document.body.innerText", Vec::new()).await;
                panic!("the page never shows {selector}: {page:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Does something to an element, again when the page has just replaced it.
    async fn act(&self, selector: &str, act: impl AsyncFn(Element) -> Result<(), CmdError>) {
        let begun = Instant::now();
        loop {
            self.sees(selector).await;
            let done = match self.client.find(Locator::Css(selector)).await {
                Ok(element) => act(element).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => return,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{selector} does not react: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn click(&self, selector: &str) {
        self.act(selector, async |element| element.click().await).await;
    }

    async fn write(&self, selector: &str, text: &str) {
        self.act(selector, async |element| element.send_keys(text).await).await;
    }

    async fn count(&self, selector: &str) -> usize {
        self.client.find_all(Locator::Css(selector)).await.expect("elements").len()
    }

    async fn pixels(&self, expression: &str) -> u64 {
        let answer = self.client.execute(&format!("return Math.ceil({expression})"), Vec::new()).await;
        answer.expect("an answer").as_u64().expect("a number")
    }

    /// Ends it in good order; dropping it does so in any.
    async fn close(self) {
        self.client.clone().close().await.expect("the window closes");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Both may have ended already.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        if let Some(id) = self.process_id {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

/// A session with the driver, as soon as it listens.
async fn connect(driver: &mut Child, port: u16, options: serde_json::Value) -> Client {
    let capabilities: serde_json::Map<_, _> = [("goog:chromeOptions".to_owned(), options)].into_iter().collect();
    let begun = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        let ended = driver.try_wait().expect("a status");
        assert!(ended.is_none() && begun.elapsed() < PATIENCE, "chromedriver does not listen: {ended:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities)
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .unwrap_or_else(|error| {
            let _ = driver.kill();
            panic!("no browser window: {error}")
        })
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn missing(what: &str) -> ! {
    panic!(
        "{what} is not in PATH: run bin/test, which installs what is missing, or apt-get install chromium chromium-driver"
    )
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Adds somebody on the page, writes, and waits for the reply and the ticks.
async fn a_newcomer_asks_for_the_weather(stage: &Stage, browser: &Browser, add_button: &str) {
    browser.client.goto(&stage.simulator.url()).await.expect("the page");
    browser.click(add_button).await;
    browser.write("#phone-name", "Ana").await;
    browser.click("#phone-create").await;
    browser.write("#composer-text", "weather please").await;
    browser.click("#composer-send").await;
    // Seen from the person: their own words go out and have two ticks once the platform has taken them.
    let own = "[data-bubble][data-direction=out]";
    browser.sees(&format!("{own} .ticks[data-ticks=\"2\"]")).await;
    stage.settle().await;
    assert_eq!(browser.count("[data-bubble][data-direction=in]").await, 0, "nobody was invoked");

    browser.write("#composer-text", "michael: weather please").await;
    browser.click("#composer-send").await;
    let shown = browser.sees("[data-bubble][data-direction=in]").await;
    assert!(shown.contains(REPLY), "{shown}");
    browser.sees(&format!("{own}:nth-of-type(3) .ticks[data-ticks=\"2\"]")).await;
    // The reply has gone the whole way, too: delivered, and read because the chat is open.
    browser.sees("[data-bubble][data-direction=in][data-status=read] .ticks[data-ticks=\"2\"]").await;
    stage.settle().await;
    assert_eq!(browser.count(&format!("{own} .ticks[data-ticks=\"2\"]")).await, 2);
    assert_eq!(browser.count("[data-bubble]").await, 3, "two messages and one reply");
    assert_eq!(browser.count(".ticks[data-failed]").await, 0);

    let phone = &stage.simulator.phones()[0];
    assert_eq!((phone.name.as_str(), phone.kind), ("Ana", PhoneKind::Phone));
    assert_eq!(stage.heard(&phone.id), [REPLY]);
    assert_eq!(stage.bubbles(&phone.id)[0].status, BubbleStatus::Read);
    assert_eq!(stage.outbound("read").await.len(), 1, "the platform knows that it was read");
}

async fn stage() -> Stage {
    let stage = Stage::with(&[("require_invoke_prefix", "true")]).await;
    stage.keyword_rule("weather", "weather", REPLY).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_typed_on_the_page_is_answered_with_two_ticks() {
    let stage = stage().await;
    let browser = Browser::open(false).await;
    a_newcomer_asks_for_the_weather(&stage, &browser, "#add-phone").await;
    browser.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_at_the_width_of_a_phone() {
    let stage = stage().await;
    let browser = Browser::open(true).await;
    // There the welcome takes the place of the empty list.
    a_newcomer_asks_for_the_weather(&stage, &browser, "#welcome-add").await;
    let (width, _) = PHONE_PIXELS;
    assert_eq!(browser.pixels("innerWidth").await, u64::from(width));
    let content = browser.pixels("document.documentElement.scrollWidth").await;
    assert!(content <= u64::from(width), "nothing sticks out to the side: {content} pixels");
    let composer = browser.pixels("document.getElementById('composer-send').getBoundingClientRect().right").await;
    assert!(composer <= u64::from(width), "the button can be reached: {composer}");
    browser.click("#back").await;
    assert!(browser.sees("[data-phone]").await.contains("Ana"));
    browser.click("[data-phone]").await;
    assert!(browser.sees("[data-bubble][data-direction=in]").await.contains(REPLY));
    browser.close().await;
    stage.end().await;
}
