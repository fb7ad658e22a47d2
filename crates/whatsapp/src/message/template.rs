//! Templates with their parameters, positional or named.

use serde::{Deserialize, Serialize};

use super::limits::{
    BODY_CHARACTERS_MAX, BUTTON_ID_CHARACTERS_MAX, COUPON_CHARACTERS_MAX, FILENAME_CHARACTERS_MAX,
    HEADER_CHARACTERS_MAX, LANGUAGE_CHARACTERS_MAX, LimitError, TEMPLATE_BUTTONS_MAX, TEMPLATE_NAME_CHARACTERS_MAX,
    URL_CHARACTERS_MAX, check_id, check_optional, check_text, check_unique,
};
use super::media::MediaSource;

/// Most components of a template message: header, body and the buttons.
const COMPONENTS_MAX: usize = TEMPLATE_BUTTONS_MAX + 2;
/// Most parameters of a component. Ours: a body of 1,024 characters has room for no more that could be told apart.
const PARAMETERS_MAX: usize = 100;

/// A template to send: which one, in which language, with what filled in.
///
/// ```
/// use whatsapp::message::{Template, TemplateComponent, TemplateParameter};
/// let template = Template::new("order_ready", "pt_BR", vec![
///     TemplateComponent::Body { parameters: vec![TemplateParameter::named("first", "Ana")] },
/// ])?;
/// assert_eq!(template.name(), "order_ready");
/// # Ok::<(), whatsapp::message::LimitError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    name: String,
    language: String,
    #[serde(default)]
    components: Vec<TemplateComponent>,
}

/// A part of a template that has something to fill in. Parts without variables are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TemplateComponent {
    /// The header: one text, picture, video, file or place.
    Header {
        /// Its parameters.
        parameters: Vec<TemplateParameter>,
    },
    /// The body: texts, amounts, dates.
    Body {
        /// Its parameters.
        parameters: Vec<TemplateParameter>,
    },
    /// One button.
    Button {
        /// Place of the button, from 0.
        index: u8,
        /// What kind it is and what is filled in.
        button: TemplateButton,
    },
}

/// A button of a template and what is filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sub_type", rename_all = "snake_case")]
pub enum TemplateButton {
    /// A quick reply.
    QuickReply {
        /// What comes back when it is tapped.
        payload: String,
    },
    /// A link with a variable at its end.
    Url {
        /// The end of the address.
        suffix: String,
    },
    /// A button that copies a coupon code.
    CopyCode {
        /// The code.
        code: String,
    },
    /// A button that opens a flow.
    Flow {
        /// A token of ours that comes back with the answers.
        flow_token: Option<String>,
    },
}

/// One value to fill in. Within a message either all texts of a component have names or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TemplateParameter {
    /// A text.
    Text {
        /// Name of the variable, for templates with the parameter format `NAMED`.
        name: Option<String>,
        /// The value.
        text: String,
    },
    /// An amount of money.
    Currency {
        /// Name of the variable.
        name: Option<String>,
        /// Shown where the amount cannot be written for the user's country.
        fallback: String,
        /// ISO 4217 code.
        code: String,
        /// The amount times 1000.
        amount_1000: i64,
    },
    /// A date or time.
    DateTime {
        /// Name of the variable.
        name: Option<String>,
        /// The words.
        fallback: String,
    },
    /// A picture, in headers.
    Image {
        /// Where it is.
        media: MediaSource,
    },
    /// A video, in headers.
    Video {
        /// Where it is.
        media: MediaSource,
    },
    /// A file, in headers.
    Document {
        /// Where it is.
        media: MediaSource,
        /// The name to show.
        filename: Option<String>,
    },
    /// A place, in headers.
    Location {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// Name of the place.
        name: Option<String>,
        /// Its address.
        address: Option<String>,
    },
}

impl Template {
    /// A template by name and language, such as `order_ready` in `pt_BR`.
    pub fn new(
        name: impl Into<String>,
        language: impl Into<String>,
        components: Vec<TemplateComponent>,
    ) -> Result<Self, LimitError> {
        let template = Self { name: name.into(), language: language.into(), components };
        template.check()?;
        Ok(template)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The language code.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// What is filled in.
    pub fn components(&self) -> &[TemplateComponent] {
        &self.components
    }

    pub(crate) fn check(&self) -> Result<(), LimitError> {
        check_text("template name", &self.name, TEMPLATE_NAME_CHARACTERS_MAX)?;
        if !self.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            let reason = "only lower-case letters, digits and underscores";
            return Err(LimitError::Invalid { field: "template name", reason });
        }
        check_id("template language", &self.language, LANGUAGE_CHARACTERS_MAX)?;
        let actual = self.components.len();
        if actual > COMPONENTS_MAX {
            return Err(LimitError::TooMany { field: "template components", limit: COMPONENTS_MAX, actual });
        }
        let places: Vec<String> = self.components.iter().map(TemplateComponent::place).collect();
        check_unique("template component", places.iter().map(String::as_str))?;
        self.components.iter().try_for_each(TemplateComponent::check)
    }
}

impl TemplateComponent {
    /// What may be there only once.
    fn place(&self) -> String {
        match self {
            Self::Header { .. } => "header".to_owned(),
            Self::Body { .. } => "body".to_owned(),
            Self::Button { index, .. } => format!("button {index}"),
        }
    }

    fn check(&self) -> Result<(), LimitError> {
        match self {
            Self::Header { parameters } => {
                if parameters.len() != 1 {
                    return Err(LimitError::Invalid { field: "template header", reason: "it takes one parameter" });
                }
                parameters.iter().try_for_each(|parameter| parameter.check("template header", HEADER_CHARACTERS_MAX))
            }
            Self::Body { parameters } => {
                let (limit, actual) = (PARAMETERS_MAX, parameters.len());
                if actual > limit {
                    return Err(LimitError::TooMany { field: "template parameters", limit, actual });
                }
                check_names(parameters)?;
                if parameters.iter().any(TemplateParameter::is_media) {
                    return Err(LimitError::Invalid { field: "template body", reason: "it takes texts only" });
                }
                parameters.iter().try_for_each(|parameter| parameter.check("template parameter", BODY_CHARACTERS_MAX))
            }
            Self::Button { index, button } => {
                if usize::from(*index) >= TEMPLATE_BUTTONS_MAX {
                    return Err(LimitError::Invalid { field: "template button index", reason: "it is above 9" });
                }
                button.check()
            }
        }
    }
}

impl TemplateButton {
    fn check(&self) -> Result<(), LimitError> {
        match self {
            Self::QuickReply { payload } => check_text("button payload", payload, BUTTON_ID_CHARACTERS_MAX),
            Self::Url { suffix } => check_text("button link suffix", suffix, URL_CHARACTERS_MAX),
            Self::CopyCode { code } => check_text("coupon code", code, COUPON_CHARACTERS_MAX),
            Self::Flow { flow_token } => check_optional("flow token", flow_token.as_deref(), BUTTON_ID_CHARACTERS_MAX),
        }
    }
}

impl TemplateParameter {
    /// A text for a template with numbered variables.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { name: None, text: text.into() }
    }

    /// A text for a template with named variables.
    pub fn named(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Text { name: Some(name.into()), text: text.into() }
    }

    /// The name of the variable.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Text { name, .. } | Self::Currency { name, .. } | Self::DateTime { name, .. } => name.as_deref(),
            _ => None,
        }
    }

    fn is_media(&self) -> bool {
        !matches!(self, Self::Text { .. } | Self::Currency { .. } | Self::DateTime { .. })
    }

    fn check(&self, field: &'static str, limit: usize) -> Result<(), LimitError> {
        check_optional("parameter name", self.name(), TEMPLATE_NAME_CHARACTERS_MAX)?;
        match self {
            Self::Text { text, .. } => check_text(field, text, limit),
            Self::DateTime { fallback, .. } => check_text(field, fallback, limit),
            Self::Currency { fallback, code, .. } => {
                check_text(field, fallback, limit)?;
                let iso = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
                let reason = "three capitals are expected";
                if iso { Ok(()) } else { Err(LimitError::Invalid { field: "currency code", reason }) }
            }
            Self::Image { media } | Self::Video { media } => media.check(),
            Self::Document { media, filename } => {
                media.check()?;
                check_optional("file name", filename.as_deref(), FILENAME_CHARACTERS_MAX)
            }
            Self::Location { latitude, longitude, .. } => {
                let on_earth = (-90.0..=90.0).contains(latitude) && (-180.0..=180.0).contains(longitude);
                let reason = "latitude or longitude is out of range";
                if on_earth { Ok(()) } else { Err(LimitError::Invalid { field: "location", reason }) }
            }
        }
    }
}

/// All parameters are named, each differently, or none is.
fn check_names(parameters: &[TemplateParameter]) -> Result<(), LimitError> {
    let names: Vec<&str> = parameters.iter().filter_map(TemplateParameter::name).collect();
    if !names.is_empty() && names.len() != parameters.len() {
        let reason = "either all parameters are named or none is";
        return Err(LimitError::Invalid { field: "template parameters", reason });
    }
    check_unique("parameter name", names.into_iter())
}
