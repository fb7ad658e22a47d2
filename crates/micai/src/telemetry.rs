//! Log lines: text for people, JSON for machines, on standard error.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

use crate::config::{AppEnv, Config, LogFormat};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not understood. `Config` has checked its own, so this is a caller's text.
    #[error("the log filter is not understood: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logging was set up before in this process.
    #[error("logging is already set up: {0}")]
    AlreadySet(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the log lines of this process to standard error, as `log_filter` and `log_format` say. Call once, first thing.
///
/// # Errors
/// [`TelemetryError`], when it was called before or the filter is not understood.
pub fn init(config: &Config) -> Result<(), TelemetryError> {
    let json = wants_json(config.log_format, config.app_env);
    let colours = !json && io::stderr().is_terminal();
    subscriber(&config.log_filter, json, colours, io::stderr)?.try_init()?;
    Ok(())
}

fn wants_json(format: LogFormat, app_env: AppEnv) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => app_env == AppEnv::Prod,
    }
}

fn subscriber<W>(
    filter: &str,
    json: bool,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(filter)?).with_writer(writer);
    // Fields stand at the top of the object, so that `request_id` is found where every tool looks for it.
    Ok(match json {
        true => Box::new(lines.json().flatten_event(true).with_current_span(true).with_span_list(false).finish()),
        false => Box::new(lines.with_ansi(colours).finish()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, json: bool) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(filter, json, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("too quiet");
            tracing::info!(send.attempts = 3, "a send was retried");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn prod_speaks_json_unless_told_otherwise() {
        for (format, app_env, json) in [
            (LogFormat::Auto, AppEnv::Prod, true),
            (LogFormat::Auto, AppEnv::Dev, false),
            (LogFormat::Auto, AppEnv::Test, false),
            (LogFormat::Text, AppEnv::Prod, false),
            (LogFormat::Json, AppEnv::Dev, true),
        ] {
            assert_eq!(wants_json(format, app_env), json, "{format:?} {app_env:?}");
        }
    }

    #[test]
    fn a_json_line_is_one_object_with_its_fields_at_the_top() {
        let text = logged("info", true);
        assert_eq!(text.lines().count(), 1, "{text}");
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["message"], "a send was retried");
        assert_eq!(object["send.attempts"], 3);
        assert_eq!(object["level"], "INFO");
    }

    #[test]
    fn the_filter_holds_and_text_has_no_colour_codes_away_from_a_terminal() {
        let text = logged("debug", false);
        assert!(text.contains("too quiet") && text.contains("a send was retried"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(logged("error", false), "");
        assert!(subscriber("micai=loud", false, false, io::stderr).is_err());
    }
}
