//! Buttons, lists, links and requests: the `interactive` message and its limits.

use std::collections::HashSet;

use crate::errors::GraphError;
use crate::graph_api::fields::{Fields, is_web_address};
use crate::graph_api::message::media;
use crate::view::{ButtonView, RowView};
use crate::world::World;
use crate::world::bubble::Face;

type Checked<T> = Result<T, GraphError>;

/// Characters of the body of an interactive message.
pub const INTERACTIVE_BODY_CHARACTERS_MAX: usize = 1_024;
/// Characters of a list's body.
pub const LIST_BODY_CHARACTERS_MAX: usize = 4_096;
/// Characters of a header's text and of a footer.
pub const HEADER_CHARACTERS_MAX: usize = 60;
/// Reply buttons.
pub const REPLY_BUTTONS_MAX: usize = 3;
/// Characters of a button's label.
pub const BUTTON_TITLE_CHARACTERS_MAX: usize = 20;
/// Characters of a reply button's id.
pub const BUTTON_ID_CHARACTERS_MAX: usize = 256;
/// Sections of a list, and its rows in all sections together.
pub const LIST_ROWS_MAX: usize = 10;
/// Characters of a row's or section's title.
pub const ROW_TITLE_CHARACTERS_MAX: usize = 24;
/// Characters of a row's id.
pub const ROW_ID_CHARACTERS_MAX: usize = 200;
/// Characters of a row's description.
pub const ROW_DESCRIPTION_CHARACTERS_MAX: usize = 72;
/// Characters of a web address in a button.
pub const URL_CHARACTERS_MAX: usize = 2_000;

const TYPES: &[&str] = &["button", "list", "cta_url", "location_request_message", "request_contact_info"];

/// Checks an interactive message and gives what the person sees.
pub(crate) fn interactive(world: &World, part: &Fields<'_>) -> Checked<Face> {
    part.only(&["type", "header", "body", "footer", "action"])?;
    let kind = part.need_text("type", 100)?;
    if !TYPES.contains(&kind) {
        let sentence = format!("interactive of type {kind} is not supported here; known are {}.", TYPES.join(", "));
        return Err(GraphError::new(131_009, sentence));
    }
    let body_limit = if kind == "list" { LIST_BODY_CHARACTERS_MAX } else { INTERACTIVE_BODY_CHARACTERS_MAX };
    let mut face = Face::text(part.need_object("body")?.need_text("text", body_limit)?);
    if let Some(header) = part.object("header")? {
        put_header(world, kind, &header, &mut face)?;
    }
    if let Some(footer) = part.object("footer")? {
        face.footer = Some(footer.label("text", HEADER_CHARACTERS_MAX)?.to_owned());
    }
    let action = part.need_object("action")?;
    match kind {
        "button" => face.buttons = buttons(&action)?,
        "list" => {
            face.list_button = Some(action.label("button", BUTTON_TITLE_CHARACTERS_MAX)?.to_owned());
            face.rows = rows(&action)?;
        }
        "cta_url" => face.buttons = vec![link(&action)?],
        "location_request_message" => {
            named(&action, "send_location")?;
            face.buttons = vec![ButtonView::SendLocation];
        }
        _ => {
            named(&action, "request_contact_info")?;
            face.buttons = vec![ButtonView::ShareContact { title: "Share contact info".to_owned() }];
        }
    }
    Ok(face)
}

fn put_header(world: &World, kind: &str, header: &Fields<'_>, face: &mut Face) -> Checked<()> {
    let header_kind = header.need_text("type", 100)?;
    match header_kind {
        "text" => face.header = Some(header.label("text", HEADER_CHARACTERS_MAX)?.to_owned()),
        "image" | "video" | "document" if kind != "list" => {
            let (shown, trouble) = media(world, header_kind, &header.need_object(header_kind)?)?;
            if let Some(trouble) = trouble {
                return Err(GraphError::new(131_009, trouble));
            }
            face.media = shown.media;
        }
        _ => {
            return Err(GraphError::new(
                131_009,
                format!("A {kind} message cannot have a header of type {header_kind}."),
            ));
        }
    }
    Ok(())
}

fn buttons(action: &Fields<'_>) -> Checked<Vec<ButtonView>> {
    action.only(&["buttons"])?;
    let mut views = Vec::new();
    let (mut ids, mut titles) = (HashSet::new(), HashSet::new());
    for item in action.list("buttons", REPLY_BUTTONS_MAX)? {
        let button = Fields::of(item, "Button")?;
        if button.text("type")? != Some("reply") {
            return Err(GraphError::new(131_009, "Button type must be reply."));
        }
        let reply = Fields::of(button.need("reply")?, "Button")?;
        let id = reply.label("id", BUTTON_ID_CHARACTERS_MAX)?;
        let title = reply.label("title", BUTTON_TITLE_CHARACTERS_MAX)?;
        if !ids.insert(id) || !titles.insert(title) {
            return Err(GraphError::new(131_009, "Button ids and titles must be unique."));
        }
        views.push(ButtonView::Reply { id: id.to_owned(), title: title.to_owned() });
    }
    Ok(views)
}

fn rows(action: &Fields<'_>) -> Checked<Vec<RowView>> {
    action.only(&["button", "sections"])?;
    let sections = action.list("sections", LIST_ROWS_MAX)?;
    let mut views: Vec<RowView> = Vec::new();
    let mut ids = HashSet::new();
    for item in sections {
        let section = Fields::of(item, "Section")?;
        let title = match section.text("title")? {
            None if sections.len() == 1 => None,
            _ => Some(section.label("title", ROW_TITLE_CHARACTERS_MAX)?),
        };
        for item in section.list("rows", LIST_ROWS_MAX)? {
            let row = Fields::of(item, "Row")?;
            let id = row.label("id", ROW_ID_CHARACTERS_MAX)?;
            if !ids.insert(id) {
                return Err(GraphError::new(131_009, format!("Row ids must be unique: {id}")));
            }
            let description = match row.text("description")? {
                None | Some("") => None,
                Some(_) => Some(row.label("description", ROW_DESCRIPTION_CHARACTERS_MAX)?.to_owned()),
            };
            let row_title = row.label("title", ROW_TITLE_CHARACTERS_MAX)?.to_owned();
            views.push(RowView { section: title.map(str::to_owned), id: id.to_owned(), title: row_title, description });
        }
    }
    if views.len() > LIST_ROWS_MAX {
        let sentence = format!("Total row count exceed max allowed count: {LIST_ROWS_MAX}");
        return Err(GraphError::new(131_009, sentence));
    }
    Ok(views)
}

fn link(action: &Fields<'_>) -> Checked<ButtonView> {
    named(action, "cta_url")?;
    let parameters = action.need_object("parameters")?;
    let title = parameters.label("display_text", BUTTON_TITLE_CHARACTERS_MAX)?.to_owned();
    let url = parameters.need_text("url", URL_CHARACTERS_MAX)?;
    if !is_web_address(url) {
        return Err(GraphError::new(131_009, "parameters['url'] is not a valid URL."));
    }
    Ok(ButtonView::Url { title, url: url.to_owned() })
}

fn named(action: &Fields<'_>, name: &str) -> Checked<()> {
    if action.need_text("name", 100)? == name {
        return Ok(());
    }
    Err(GraphError::new(131_009, format!("action['name'] must be {name}.")))
}
