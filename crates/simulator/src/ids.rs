//! Ids and names made from the seed, in the shapes that Meta uses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const NAMES: &[&str] = &[
    "Ana", "Bruno", "Chidi", "Dalia", "Emre", "Farah", "Goran", "Hana", "Ines", "Jun", "Kofi", "Lena", "Mateo",
    "Nadia", "Omar", "Petra", "Quim", "Rosa", "Søren", "Thandi", "Umar", "Vera", "Wanjiru", "Ximena", "Yara", "Zofia",
];
/// Country calling codes that made-up phones use, with the country that a BSUID begins with.
const COUNTRIES: &[(&str, &str)] =
    &[("1", "US"), ("34", "ES"), ("44", "GB"), ("49", "DE"), ("52", "MX"), ("55", "BR"), ("62", "ID"), ("91", "IN")];

/// A seeded source of ids.
#[derive(Debug)]
pub(crate) struct Ids {
    random: StdRng,
    counter: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), counter: 0 }
    }

    /// A message id: unique by its counter, unguessable in shape.
    pub(crate) fn wamid(&mut self) -> String {
        self.counter += 1;
        let mut bytes = [0_u8; 30];
        self.random.fill(&mut bytes[..]);
        bytes[22..].copy_from_slice(&self.counter.to_be_bytes());
        format!("wamid.HBgL{}", STANDARD_NO_PAD.encode(bytes).replace(['+', '/'], "Q"))
    }

    /// The decimal id of a file or template.
    pub(crate) fn object_id(&mut self) -> String {
        self.counter += 1;
        format!("{}{:07}", self.random.random_range(100_000_000_u64..999_999_999), self.counter)
    }

    /// A business-scoped user id for somebody with this phone number.
    pub(crate) fn user_id(&mut self, phone: &str) -> String {
        format!("{}.{}", country(phone), self.alphanumeric(18))
    }

    pub(crate) fn parent_user_id(&mut self, phone: &str) -> String {
        format!("{}.ENT.{}", country(phone), self.alphanumeric(18))
    }

    pub(crate) fn phone(&mut self) -> String {
        let (code, _) = COUNTRIES[self.random.random_range(0..COUNTRIES.len())];
        format!("{code}{:09}", self.random.random_range(100_000_000_u64..999_999_999))
    }

    pub(crate) fn name(&mut self) -> String {
        NAMES[self.random.random_range(0..NAMES.len())].to_owned()
    }

    pub(crate) fn username(&mut self, name: &str) -> String {
        let stem: String = name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).take(20).collect();
        format!("{stem}.{:05}", self.random.random_range(0..100_000_u32))
    }

    /// A token for an address that must not be guessed.
    pub(crate) fn token(&mut self) -> String {
        self.alphanumeric(32)
    }

    fn alphanumeric(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(ALPHANUMERIC[self.random.random_range(0..ALPHANUMERIC.len())])).collect()
    }
}

fn country(phone: &str) -> &'static str {
    COUNTRIES.iter().find(|(code, _)| phone.starts_with(code)).map_or("US", |(_, country)| country)
}
