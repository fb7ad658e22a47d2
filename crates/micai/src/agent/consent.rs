//! Words by which a person says whether we may write to them. WhatsApp's own stop button concerns marketing only; that
//! somebody writes STOP is for us to notice.

/// What a message says about consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentWord {
    /// Send nothing any more.
    Stop,
    /// You may write again.
    Start,
}

/// Whole messages, normalised. A sentence that merely holds one of these is not a wish to stop.
const STOP_WORDS: [&str; 4] = ["stop", "stopall", "stop all", "unsubscribe"];
const START_WORDS: [&str; 3] = ["start", "unstop", "subscribe"];

/// What the confirmation of STOP says. It is the last thing we send.
pub const STOPPED_REPLY: &str = "You will not hear from us any more. Write START if you change your mind.";
/// What the confirmation of START says.
pub const STARTED_REPLY: &str = "Welcome back. Write STOP whenever you want no more messages.";

/// Reads a normalised message. Full stops and exclamation marks behind the word do not matter.
pub fn consent_word(normalised: &str) -> Option<ConsentWord> {
    let word = normalised.trim_end_matches(['.', '!']).trim_end();
    if STOP_WORDS.contains(&word) {
        Some(ConsentWord::Stop)
    } else if START_WORDS.contains(&word) {
        Some(ConsentWord::Start)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_message_is_a_wish() {
        for (text, expected) in [
            ("stop", Some(ConsentWord::Stop)),
            ("stop!", Some(ConsentWord::Stop)),
            ("unsubscribe.", Some(ConsentWord::Stop)),
            ("start", Some(ConsentWord::Start)),
            ("stop the music", None),
            ("when does the bus stop", None),
            ("", None),
        ] {
            assert_eq!(consent_word(text), expected, "{text:?}");
        }
    }
}
