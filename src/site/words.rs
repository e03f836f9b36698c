//! Words that a person reads in one place and types in another: those of BIP-39, 2048 in English,
//! each known after four letters.

use bip39::Language;

/// Letters after which every word of the list is known.
const ENOUGH: usize = 4;

/// A word that is not of the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}`{}", near.map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
pub struct Unknown {
    /// What was typed.
    pub word: String,
    /// The nearest one.
    pub near: Option<&'static str>,
}

/// All of them, in order.
pub fn list() -> &'static [&'static str; 2048] {
    Language::English.word_list()
}

/// Reads what a person typed: words in any case, apart by anything that is no letter, each whole
/// or as far as it is known.
pub fn read(text: &str) -> Result<Vec<&'static str>, Unknown> {
    let lower = text.to_lowercase();
    let typed = lower.split(|letter: char| !letter.is_alphabetic());
    typed.filter(|word| !word.is_empty()).map(find).collect()
}

/// The word that this one is, or begins.
pub fn find(typed: &str) -> Result<&'static str, Unknown> {
    let exact = list().iter().find(|word| **word == typed);
    let begun = || {
        let long = typed.chars().count() >= ENOUGH;
        let mut all = list().iter().filter(|word| word.starts_with(typed));
        all.next().filter(|_| long)
    };
    exact.or_else(begun).copied().ok_or_else(|| {
        let distance = |word: &&&str| strsim::damerau_levenshtein(word, typed);
        let near = list().iter().min_by_key(distance);
        Unknown {
            word: typed.to_owned(),
            near: near.filter(|word| distance(word) <= 2).copied(),
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn four_letters_are_enough_for_every_word() {
        for word in list() {
            let begin: String = word.chars().take(ENOUGH).collect();
            assert_eq!(find(&begin).unwrap(), *word);
            assert_eq!(find(word).unwrap(), *word);
        }
        // Three may begin several.
        assert!(find("zeb").is_err());
    }
}
