use super::*;

fn table(look: Look) -> Table {
    let mut table = Table::new(look, vec![Column::left(), Column::right()]).with_head(["name", "x"]);
    table.push(["a", "1"]);
    table.push([Cell::from("b\n<c>"), Cell::of(Role::Warning, "20")]);
    table
}

/// Returns the text with escapes as words: `{36 42}`.
fn marked(ansi: &str) -> String {
    let mut parts = ansi.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |out, part| match part.split_once('m').unwrap() {
        ("0", rest) => format!("{out}}}{rest}"),
        (code, rest) => format!("{out}{{{code} {rest}"),
    })
}

#[test]
fn a_table_has_one_layout_in_text_and_colors() {
    let ruled = Document::of(Block::Table(table(Look::Ruled)));
    let rule = "───────────";
    let lines = [rule, " name    x", rule, " a       1", " b      20", " <c>", rule];
    assert_eq!(ruled.to_text(None), lines.join("\n"));
    let ansi = marked(&ruled.shown(None, true));
    let lines: Vec<&str> = ansi.lines().collect();
    assert_eq!(lines[..2], ["{2 ───────────}", " {1 name}    {1 x}"]);
    assert_eq!(lines[4], " b      {1;33 20}");

    let framed = Document::of(Block::Table(table(Look::Framed))).to_text(None);
    let lines = [
        "┌───────────┐",
        "│ name    x │",
        "╞═══════════╡",
        "│ a       1 │",
        "│ b      20 │",
        "│ <c>       │",
    ];
    assert_eq!(framed.lines().take(6).collect::<Vec<_>>(), lines);
}

#[test]
fn a_framed_table_wraps_its_cells() {
    let mut table = Table::new(Look::Framed, vec![Column::left(), Column::left()]);
    table.push(["images", "10 classes of some size"]);
    let document = Document::of(Block::Table(table));
    assert_eq!(document.to_text(Some(26)).lines().nth(2), Some("│          some size     │"));
    for width in 14..50 {
        let text = document.to_text(Some(width));
        assert!(text.lines().all(|line| width::width(line) <= width), "{width}:\n{text}");
    }
}

#[test]
fn a_long_value_continues_below_itself() {
    let facts = Document::facts("run", [("loss", "0.9712, mean of the last tenth")]);
    assert_eq!(facts.to_text(Some(30)), "run\n  loss  0.9712, mean of the\n        last tenth");
    assert_eq!(facts.to_text(Some(20)), "run\n  loss  0.9712, mean\n    of the last\n    tenth");
}

#[test]
fn html_escapes_aligns_and_keeps_lines() {
    let html = table(Look::Ruled).to_html();
    assert!(html.starts_with(
        "<table>\n<thead><tr><th style=\"text-align:left\">name</th>\
         <th class=\"number\" style=\"text-align:right\">x</th></tr></thead>\n<tbody>\n"
    ));
    assert!(html.contains(">b<br>&lt;c&gt;</td>") && html.contains("><b>20</b></td>"), "{html}");
    let facts = Document::facts("run <1>", [("loss", "0.5")]);
    assert_eq!(facts.to_text(None), "run <1>\n  loss  0.5");
    assert!(facts.to_html().contains("<th style=\"text-align:left\">loss</th>"), "{}", facts.to_html());
}

#[test]
fn words_keep_their_role_where_a_line_is_broken() {
    let line = Line::from("one ").with(Role::Code, "two three").with(Role::Plain, " four");
    let document = Document::of(Block::Paragraph(line));
    assert_eq!(marked(&document.shown(Some(9), true)), "one {36 two}\n{36 three}\nfour");
    assert_eq!(document.to_html(), "<p>one <code>two three</code> four</p>\n");
}

#[test]
fn headings_lists_code_and_links() {
    let mut item = Line::from("see ");
    item.push_link("this", "https://a.b/?c&d");
    let document = Document::new()
        .with(Block::Heading(2, "Results".into()))
        .with(Block::Gap)
        .with(Block::List { ordered: true, items: vec![item] })
        .with(Block::Code { lines: vec!["f(1)".into()], indent: 2 });
    assert_eq!(document.to_text(None), "Results\n\n1. see this\n  f(1)");
    let html = document.to_html();
    assert!(html.starts_with("<h2>Results</h2>\n<ol>\n"), "{html}");
    assert!(html.contains("<a href=\"https://a.b/?c&amp;d\">this</a>"), "{html}");
    let loud = document.map_code(|code| vec![Line::of(Role::Keyword, code.to_uppercase())]);
    assert!(marked(&loud.shown(None, true)).ends_with("  {35 F(1)}"));
}
