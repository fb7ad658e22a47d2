//! Rows of a CSV text: fields in quotes may hold commas and line breaks, as in the rate cards that Meta publishes.

/// A row, with the line that it begins on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub line: usize,
    pub fields: Vec<String>,
}

/// The rows of a text; empty lines are left out. A quote that is never closed takes in all that follows.
pub(super) fn rows(text: &str) -> Vec<Row> {
    let (mut rows, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun_on, mut is_quoted) = (1, 1, false);
    let mut letters = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    while let Some(letter) = letters.next() {
        line += usize::from(letter == '\n');
        match letter {
            '"' if is_quoted && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if is_quoted || field.is_empty() => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            '\n' if !is_quoted => {
                end_row(&mut rows, &mut fields, &mut field, begun_on);
                begun_on = line;
            }
            letter => field.push(letter),
        }
    }
    end_row(&mut rows, &mut fields, &mut field, begun_on);
    rows
}

fn end_row(rows: &mut Vec<Row>, fields: &mut Vec<String>, field: &mut String, line: usize) {
    fields.push(std::mem::take(field));
    let fields: Vec<String> = std::mem::take(fields).iter().map(|field| one_line(field)).collect();
    if fields.iter().any(|field| !field.is_empty()) {
        rows.push(Row { line, fields });
    }
}

/// The words of a field with one space between them.
fn one_line(field: &str) -> String {
    field.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_line_and_fields_their_quotes() {
        let text = "\u{feff}a,b\r\n\n\"c,\nd\", e \n\"say \"\"no\"\"\",5\" tall";
        let expected = [(1, vec!["a", "b"]), (3, vec!["c, d", "e"]), (5, vec!["say \"no\"", "5\" tall"])];
        let found: Vec<(usize, Vec<&str>)> = Vec::new();
        let rows = rows(text);
        let found: Vec<_> = found
            .into_iter()
            .chain(rows.iter().map(|row| (row.line, row.fields.iter().map(String::as_str).collect())))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_open_quote_ends_with_the_text() {
        assert_eq!(rows("a,\"b\nc").len(), 1);
        assert!(rows("").is_empty());
    }
}
