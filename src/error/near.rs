//! Names near to a misspelt one.

/// Returns the entry of `known` that `name` was probably meant to be, if one is near enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    closest(name, known).map(|(near, _)| near)
}

/// Like [`nearest`], and returns whether no other entry is as near.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, bool)> {
    let near = candidates(name, known);
    near.first().map(|first| (*first, near.len() == 1))
}

/// Returns the entries of `known` that are nearest to `name`, all equally near, in their order.
pub fn candidates<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let length = |text: &str| text.chars().count();
    let near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&wanted, &k.to_lowercase()), k))
        .filter(|(distance, k)| {
            // At most one edit per three letters, and never all letters.
            let near = *distance <= (length(name).max(length(k)) / 3).max(1)
                && *distance < length(name).min(length(k));
            *distance == 0 || near || (length(name) >= 3 && k.to_lowercase().starts_with(&wanted))
        })
        .collect();
    let Some(least) = near.iter().map(|(distance, _)| *distance).min() else { return Vec::new() };
    let mut best: Vec<&str> =
        near.into_iter().filter(|(distance, _)| *distance == least).map(|n| n.1).collect();
    let mut seen = std::collections::BTreeSet::new();
    best.retain(|name| seen.insert(*name));
    best
}

/// Formats a question with the candidates for what was meant, of which it names at most three.
pub fn did_you_mean<S: AsRef<str>>(candidates: &[S]) -> String {
    let named: Vec<String> = candidates.iter().take(3).map(|name| format!("`{}`", name.as_ref())).collect();
    format!("did you mean {}?", named.join(" or "))
}

/// Returns whether a text has a name or symbol that does not continue as a longer word there.
pub fn names(text: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !(name.starts_with(word) && before.ends_with(word) || name.ends_with(word) && after.starts_with(word))
    })
}

/// Formats names in backquotes, separated by commas, for messages.
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|n| format!("`{}`", n.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_typos_and_prefixes_but_not_strangers() {
        let known = ["gaussian", "binomial", "box", "butterworth"];
        assert_eq!(nearest("gausian", known), Some("gaussian"));
        assert_eq!(nearest("butter", known), Some("butterworth"));
        assert_eq!(nearest("laplace", known), None);
        assert_eq!(nearest("y", ["%", "E"]), None);
        assert_eq!(closest("gausian", known), Some(("gaussian", true)));
        assert_eq!(closest("bx", ["box", "bux"]), Some(("box", false)));
        assert_eq!(closest("boxes", ["boxed", "bixes", "boxen"]), Some(("boxed", false)));
        let equal = candidates("radn", ["rand", "round", "randn", "rand"]);
        assert_eq!(equal, ["rand", "randn"]);
        assert_eq!(did_you_mean(&equal), "did you mean `rand` or `randn`?");
    }
}
