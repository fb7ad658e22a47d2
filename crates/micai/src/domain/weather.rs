//! Weather: places and days, as people speak of them.

use serde::{Deserialize, Serialize};

/// The day whose weather is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeatherDay {
    /// Now, and the rest of today.
    #[default]
    Today,
    /// Tomorrow.
    Tomorrow,
}

impl WeatherDay {
    /// The name in arguments.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Today => "today",
            Self::Tomorrow => "tomorrow",
        }
    }

    /// The day of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Today, Self::Tomorrow].into_iter().find(|day| day.as_str() == name)
    }
}

/// A point on the globe that a person shared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedLocation {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// What the person's phone calls it.
    pub name: Option<String>,
}
