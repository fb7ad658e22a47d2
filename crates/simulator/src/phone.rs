//! The chat page for people: one document, its style sheets and scripts, compiled into the binary.
//!
//! The page is an ordinary client of the control API under `/sim`; nothing here knows about chats. Its content security
//! policy allows nothing but this origin, because what it shows (message text, names, file names) is hostile by nature.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// Only this origin; `blob:` is what a recorded voice note and a chosen picture are shown from before they are sent.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
     media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The names of the files carry no version, so a browser asks each time and is mostly answered 304.
const CACHE_CONTROL: &str = "no-cache";
/// A microphone is needed for voice notes, nothing else is.
const PERMISSIONS_POLICY: &str = "microphone=(self), camera=(), geolocation=()";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
}

const DOCUMENT: Asset = asset("", HTML, include_str!("page/index.html"));

const ASSETS: &[Asset] = &[
    asset("base.css", CSS, include_str!("page/base.css")),
    asset("chat.css", CSS, include_str!("page/chat.css")),
    asset("icon.svg", SVG, include_str!("page/icon.svg")),
    asset("main.js", SCRIPT, include_str!("page/main.js")),
    asset("api.js", SCRIPT, include_str!("page/api.js")),
    asset("dom.js", SCRIPT, include_str!("page/dom.js")),
    asset("bubble.js", SCRIPT, include_str!("page/bubble.js")),
    asset("media.js", SCRIPT, include_str!("page/media.js")),
    asset("chat.js", SCRIPT, include_str!("page/chat.js")),
    asset("composer.js", SCRIPT, include_str!("page/composer.js")),
    asset("ogg.js", SCRIPT, include_str!("page/ogg.js")),
    asset("phones.js", SCRIPT, include_str!("page/phones.js")),
    asset("tools.js", SCRIPT, include_str!("page/tools.js")),
];

const fn asset(name: &'static str, media_type: &'static str, content: &'static str) -> Asset {
    Asset { name, media_type, content }
}

/// The page at `/` and its files under `/page/`, each with an entity tag and the security headers.
///
/// The router has no state of its own: merge it into the simulator's router.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| answer(&headers, &DOCUMENT)))
        .route("/page/{name}", get(file))
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => answer(&headers, asset),
        None => (StatusCode::NOT_FOUND, "The chat page has no such file.\n").into_response(),
    }
}

fn answer(request: &HeaderMap, asset: &'static Asset) -> Response {
    let tag = entity_tag(asset);
    let fresh = request
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
    let mut response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.media_type)], asset.content).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    for (name, value) in [
        (header::CACHE_CONTROL, CACHE_CONTROL),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A quoted SHA-256 prefix of the content, computed once for all files.
fn entity_tag(asset: &Asset) -> &'static str {
    static TAGS: LazyLock<Vec<(&'static str, String)>> = LazyLock::new(|| {
        let tag = |asset: &Asset| {
            let digest = Sha256::digest(asset.content.as_bytes());
            (asset.name, format!("\"{}\"", hex::encode(&digest[..16])))
        };
        std::iter::once(&DOCUMENT).chain(ASSETS).map(tag).collect()
    });
    TAGS.iter().find(|(name, _)| *name == asset.name).map_or("\"unknown\"", |(_, tag)| tag.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    async fn serve() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router::<()>()).await.unwrap() });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn every_file_the_document_and_the_scripts_name_is_served_with_its_guards() {
        let origin = serve().await;
        let client = reqwest::Client::new();
        let mut wanted = vec!["/".to_owned()];
        for asset in std::iter::once(&DOCUMENT).chain(ASSETS) {
            wanted.extend(asset.content.split('"').filter(|part| part.starts_with("/page/")).map(str::to_owned));
            let imports = asset.content.split('"').filter(|part| part.starts_with("./") && part.ends_with(".js"));
            wanted.extend(imports.map(|part| part.replacen("./", "/page/", 1)));
        }
        assert!(wanted.len() > ASSETS.len(), "found only {wanted:?}");
        for path in wanted {
            let response = client.get(format!("{origin}{path}")).send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
            let policy = response.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{path}: {policy}");
        }
    }

    #[tokio::test]
    async fn a_known_version_is_answered_304_and_an_unknown_file_404() {
        let origin = serve().await;
        let client = reqwest::Client::new();
        let first = client.get(format!("{origin}/")).send().await.unwrap();
        let tag = first.headers()["etag"].clone();
        let again = client.get(format!("{origin}/")).header("if-none-match", tag.clone()).send().await.unwrap();
        assert_eq!((again.status().as_u16(), again.headers()["etag"].clone()), (304, tag.clone()));
        assert!(again.bytes().await.unwrap().is_empty());
        let other = client.get(format!("{origin}/page/main.js")).header("if-none-match", tag).send().await.unwrap();
        assert_eq!(other.status(), 200, "the tag of another file is not this file's");
        assert_eq!(client.get(format!("{origin}/page/none.js")).send().await.unwrap().status(), 404);
    }

    #[test]
    fn the_page_fetches_nothing_from_elsewhere_and_never_writes_markup() {
        for asset in std::iter::once(&DOCUMENT).chain(ASSETS) {
            let outside = asset.content.replace("http://www.w3.org/2000/svg", "");
            assert!(!outside.contains("//cdn") && !outside.contains("src=\"http"), "{}", asset.name);
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=\""] {
                assert!(!asset.content.contains(forbidden), "{} uses {forbidden}", asset.name);
            }
        }
    }
}
