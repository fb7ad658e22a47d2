//! The table of error codes: one row a code, in ascending order.
//!
//! Meanings follow Meta's error page and public SDKs; HTTP statuses are old and advisory, `None` where none is known.

use super::{PauseScope, Verdict};

/// What is known about one error code (or a range of them).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorFact {
    /// The code, or the first of a range.
    pub code: i64,
    /// The last code of a range; the same as `code` for a single one.
    pub last_code: i64,
    /// HTTP status it used to come with. Advisory: never branch on it.
    pub http_status: Option<u16>,
    /// What it means, in a few words.
    pub name: &'static str,
    /// What to do with the message.
    pub verdict: Verdict,
    /// What else should stop for a while although the verdict is about this message only.
    pub also_pause: Option<PauseScope>,
    /// What to do, in plain words for a person.
    pub advice: &'static str,
}

/// What is known about a code.
pub fn describe(code: i64) -> Option<&'static ErrorFact> {
    let index = ERROR_FACTS.partition_point(|fact| fact.code <= code).checked_sub(1)?;
    ERROR_FACTS.get(index).filter(|fact| code <= fact.last_code)
}

const fn fact(code: i64, http: u16, name: &'static str, verdict: Verdict, advice: &'static str) -> ErrorFact {
    let http_status = if http == 0 { None } else { Some(http) };
    ErrorFact { code, last_code: code, http_status, name, verdict, also_pause: None, advice }
}

const fn through(fact: ErrorFact, last_code: i64) -> ErrorFact {
    ErrorFact { last_code, ..fact }
}

const fn pausing(fact: ErrorFact, scope: PauseScope) -> ErrorFact {
    ErrorFact { also_pause: Some(scope), ..fact }
}

const fn later(after_seconds: u64) -> Verdict {
    Verdict::Later { after_seconds: Some(after_seconds) }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const LATER: Verdict = Verdict::Later { after_seconds: None };

use PauseScope::{Account, AccountTemplates, Calls, Country, Flow, Management, Number, Template, User};
use Verdict::{Auth, NeedsTemplate, Never, Pause, Retry, Unknown};

/// Every known code, ascending.
#[rustfmt::skip] // one row a line: it is a table
pub static ERROR_FACTS: &[ErrorFact] = &[
    fact(0, 401, "the app user cannot be authenticated", Auth, "Stop sending for this account and connect it again: the token is invalid."),
    fact(1, 400, "bad request or fault of the server", Retry, "Repeat two or three times; if it stays, the request itself is wrong."),
    fact(2, 503, "the platform is down or overloaded", Retry, "Repeat with back-off."),
    fact(3, 500, "capability or permission missing", Auth, "Give the app the permission whatsapp_business_messaging and try again."),
    fact(4, 400, "call limit of the app reached", later(HOUR), "Wait; the limit counts a rolling hour, the usage headers say when it is over."),
    fact(10, 403, "permission missing or removed", Auth, "Grant the permission again; somebody removed it from the app or its user."),
    fact(33, 400, "phone number deleted or its id is wrong", Pause(Number), "Check the phone number id; the number may have been deleted."),
    fact(100, 400, "parameter unknown, misspelt or too long", Never, "Correct the request; the details name the parameter."),
    fact(190, 401, "access token expired or revoked", Auth, "Put in a new access token."),
    through(fact(200, 403, "permission missing, or no token was sent", Auth, "Check that a token is sent and which permissions it has."), 299),
    fact(368, 403, "account restricted for breaking a policy", Pause(Account), "Stop sending; a person has to look at the account's violations and may appeal."),
    fact(613, 0, "generic call limit reached", LATER, "Wait before asking again."),
    pausing(fact(80007, 400, "call limit of the WhatsApp Business account reached", later(HOUR), "Wait up to an hour and pause management calls."), Management),
    pausing(fact(130403, 0, "this user is blocked by the business", Never, "Unblock the user before writing."), User),
    pausing(fact(130429, 400, "throughput of the number reached", Retry, "Slow down everything that is sent from this number."), Number),
    fact(130472, 400, "user is in a marketing experiment of Meta", Never, "Do not send this, nor another template, in its place."),
    fact(130497, 0, "the account may not write to this country", Pause(Country), "Stop sending to this country."),
    fact(131000, 500, "unknown failure", Unknown, "It may have been sent: wait for a status before repeating it."),
    fact(131005, 403, "access denied", Auth, "Grant the permission again."),
    fact(131008, 400, "required parameter missing", Never, "Correct the request; the details name the parameter."),
    fact(131009, 400, "value of a parameter invalid", Never, "Correct the request; the details name the parameter."),
    fact(131016, 500, "service unavailable", Unknown, "It may have been sent: wait for a status before repeating."),
    fact(131020, 0, "the group has too few members", Never, "Write to the person instead of the group."),
    fact(131021, 400, "sender and recipient are the same", Never, "Do not write to the business's own number."),
    fact(131026, 400, "undeliverable: not on WhatsApp, terms not accepted or old app", Never, "Mark the user as unreachable and use another channel."),
    fact(131030, 0, "recipient is not on the test number's list", Never, "Add the recipient to the test number's list (five at most)."),
    fact(131031, 403, "account locked, or the PIN does not match", Pause(Account), "Stop sending; a person has to look at the account."),
    fact(131037, 0, "display name of the 555 number is not approved", Pause(Number), "Have the display name approved."),
    fact(131041, 0, "group unknown", Never, "The group is gone or the number is no member of it."),
    fact(131042, 400, "problem with the payment method", Pause(Account), "Add or repair the payment method; paid messages do not go out until then."),
    fact(131044, 0, "problem with the payment method for calls", Pause(Calls), "Add or repair the payment method for calls."),
    fact(131045, 500, "number is not registered properly", Pause(Number), "Register the number again."),
    fact(131047, 400, "more than 24 hours since the user's last message", NeedsTemplate, "Send an approved template, or wait until the user writes."),
    fact(131048, 400, "spam limit: quality of the number is too low", Pause(Number), "Stop sending from this number for hours or days; never repeat by itself."),
    fact(131049, 0, "limit of marketing messages to this user", later(DAY), "Wait a day at least, longer each time; the message is not billed."),
    fact(131050, 0, "user stopped marketing messages of this business", Never, "Store the opt-out; send no marketing to this user."),
    fact(131051, 400, "type of message not supported", Never, "Send another type of message."),
    fact(131052, 400, "the user's media cannot be downloaded", Never, "Ask the user to send the file again."),
    fact(131053, 400, "media rejected", Never, "Check type, codec and size of the file."),
    fact(131055, 400, "kind of call or message not allowed here", Never, "Use the other interface: only marketing may go through the marketing one, and a SIP number takes no Graph calls."),
    pausing(fact(131056, 400, "too many messages to this user", Retry, "Wait 1, 4, 16… seconds for this user only."), User),
    fact(131057, 500, "account in maintenance, mostly a throughput upgrade", later(MINUTE), "Wait one to five minutes."),
    fact(131062, 0, "this message may not go to a BSUID", Never, "Send it to the phone number; authentication templates need one."),
    fact(131063, 0, "marketing templates are switched off for the Cloud API", Never, "Change the setting, or use the marketing interface."),
    fact(131064, 0, "limited for wrongly categorised templates", Pause(AccountTemplates), "Stop templates of this account until the limit is lifted."),
    fact(132000, 400, "wrong number of template parameters", Never, "Give the template as many parameters as it has variables."),
    fact(132001, 404, "template not found in this language or not approved", Pause(Template), "Refresh the list of templates; use an approved one."),
    fact(132005, 400, "text too long with its parameters filled in", Never, "Shorten the parameters."),
    fact(132007, 400, "content of the template breaks a policy", Never, "Change the template."),
    fact(132008, 0, "value of a template parameter invalid", Never, "Correct the parameter."),
    fact(132012, 400, "format of a template parameter wrong", Never, "Correct the parameter."),
    fact(132015, 400, "template paused for low quality", Pause(Template), "Use another template until it is active again."),
    pausing(fact(132016, 400, "template disabled for good", Never, "Create a new template."), Template),
    fact(132018, 400, "template parameters do not pass validation", Never, "Correct the parameters; the details say which."),
    fact(132068, 400, "flow blocked", Pause(Flow), "Correct the flow."),
    fact(132069, 400, "flow throttled to ten messages an hour", later(HOUR), "Wait an hour."),
    fact(133000, 500, "an earlier deregistration failed", Never, "Deregister the number again."),
    fact(133004, 503, "registration server not available", LATER, "Wait, then register again."),
    fact(133005, 400, "two-step PIN wrong", Never, "A person has to give the right PIN."),
    fact(133006, 400, "number has to be verified", Never, "A person has to verify the number before it is registered."),
    fact(133008, 400, "too many guesses of the PIN", LATER, "Wait as long as the details say."),
    fact(133009, 400, "PIN guessed too fast", LATER, "Wait as long as the details say."),
    fact(133010, 400, "number not registered", Pause(Number), "Register the number."),
    fact(133015, 400, "number is being deleted", later(5 * MINUTE), "Wait five minutes."),
    fact(133016, 400, "too many registrations or deregistrations", later(3 * DAY), "Wait; the lock lasts up to 72 hours."),
    fact(134011, 0, "terms of WhatsApp Payments not accepted", Never, "A person has to accept the terms."),
    fact(134100, 400, "only marketing may be sent here", Never, "Send it through the ordinary interface."),
    fact(134101, 400, "template still being synchronised", later(10 * MINUTE), "Wait about ten minutes."),
    fact(134102, 500, "template not available here", Never, "Use another template or the ordinary interface."),
    fact(135000, 400, "generic fault in the parameters", Never, "Correct the request; one repeat is the most that makes sense."),
    fact(137000, 0, "the user's identity key has changed", Never, "Verify the user again."),
    through(fact(139100, 0, "user cannot be blocked or unblocked", Never, "Correct the request; the details say why."), 139102),
    fact(139103, 0, "block list busy", Retry, "Repeat with back-off."),
    through(fact(147001, 0, "business username not accepted", Never, "Choose another username; the details say why."), 147005),
    fact(2388019, 0, "limit of templates of the account reached", Never, "Delete templates; 250 is the ordinary limit."),
    fact(2388039, 0, "format of the template refused", Never, "Correct the template; the details say where."),
    fact(2388040, 0, "a field of the template is too long", Never, "Shorten the field; the details say which."),
    fact(2388047, 0, "header of the template refused", Never, "Correct the header."),
    fact(2388072, 0, "body of the template refused", Never, "Correct the body."),
    fact(2388073, 0, "footer of the template refused", Never, "Correct the footer."),
    fact(2388293, 0, "too many variables for the length of the template", Never, "Write more words around the variables, or use fewer."),
    fact(2388299, 0, "variable at the start or the end of the template", Never, "Put words before the first and after the last variable."),
    fact(2494100, 0, "number in maintenance", later(5 * MINUTE), "Wait some minutes."),
    fact(2593107, 0, "history was already requested", Never, "History can be requested once."),
    fact(2593108, 0, "history requested too late", Never, "History can be requested within 24 hours of connecting."),
    fact(2593109, 0, "the business declined to share history", Never, "Go on without history."),
];
