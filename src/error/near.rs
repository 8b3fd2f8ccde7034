//! Names near to a misspelt one.

/// Returns the entry of `known` that `name` was probably meant to be, if one is near enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    closest(name, known).map(|(near, _)| near)
}

/// Like [`nearest`], and returns whether no other entry is as near.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, bool)> {
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
    let (least, best) = *near.iter().min_by_key(|(distance, _)| *distance)?;
    Some((best, near.iter().all(|(distance, k)| *distance > least || *k == best)))
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
    }
}
