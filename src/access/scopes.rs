//! Scopes and roles of a token → what they allow.
//!
//! Besides what is configured, two notations are known: `dicomweb:search:main`, and those of SMART App Launch for
//! ImagingStudy, in its first version (`user/ImagingStudy.read`) and its second (`user/ImagingStudy.rs`).

use super::grants::{Grant, Operation};

/// Whether a scope is for the patient alone whom the token names.
pub(super) fn is_of_one_patient(scope: &str) -> bool {
    scope.starts_with("patient/")
}

/// What a scope allows by its own words; `None`: it is none of ours.
pub(super) fn meaning(scope: &str) -> Option<Vec<Grant>> {
    if let Some(grant) = scope.strip_prefix("dicomweb:") {
        return Some(vec![grant.parse().ok()?]);
    }
    let (whose, what) = scope.split_once('/')?;
    if !matches!(whose, "patient" | "user" | "system") {
        return None;
    }
    // A condition on the resources (`.rs?code=…`) is one that nobody here can keep: such a scope allows nothing.
    let (resource, rights) = what.split_once('.')?;
    if !matches!(resource, "ImagingStudy" | "*") {
        return None;
    }
    let operations = match rights {
        "read" => vec![Operation::Search, Operation::Retrieve],
        "write" => vec![Operation::Store],
        "*" => vec![Operation::Search, Operation::Retrieve, Operation::Store],
        letters => by_letters(letters)?,
    };
    Some(operations.into_iter().map(|operation| Grant { operation, archive: None }).collect())
}

/// The second version: of `cruds` some letters, in this order. Nothing is deleted here.
fn by_letters(letters: &str) -> Option<Vec<Operation>> {
    let mut left = "cruds".chars();
    if letters.is_empty() || !letters.chars().all(|letter| left.any(|one| one == letter)) {
        return None;
    }
    let mut operations = Vec::new();
    for (marks, operation) in [("s", Operation::Search), ("r", Operation::Retrieve), ("cu", Operation::Store)]
    {
        if letters.contains(|letter| marks.contains(letter)) {
            operations.push(operation);
        }
    }
    Some(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(scope: &str) -> Option<String> {
        let words: Vec<String> = meaning(scope)?
            .iter()
            .map(|grant| match &grant.archive {
                Some(archive) => format!("{}:{archive}", grant.operation),
                None => grant.operation.to_string(),
            })
            .collect();
        Some(words.join(" ") + if is_of_one_patient(scope) { " of one patient" } else { "" })
    }

    #[test]
    fn scopes_of_smart_v1_and_v2_and_our_own_allow_what_they_say() {
        for (scope, expected) in [
            ("user/ImagingStudy.read", "search retrieve"),
            ("system/ImagingStudy.*", "search retrieve store"),
            ("user/ImagingStudy.write", "store"),
            ("patient/ImagingStudy.read", "search retrieve of one patient"),
            ("user/*.read", "search retrieve"),
            ("user/ImagingStudy.rs", "search retrieve"),
            ("user/ImagingStudy.r", "retrieve"),
            ("user/ImagingStudy.s", "search"),
            ("system/ImagingStudy.cruds", "search retrieve store"),
            ("user/ImagingStudy.c", "store"),
            ("user/ImagingStudy.d", ""),
            ("patient/ImagingStudy.rs", "search retrieve of one patient"),
            ("dicomweb:search", "search"),
            ("dicomweb:retrieve:main", "retrieve:main"),
            ("dicomweb:admin", "admin"),
        ] {
            assert_eq!(said(scope).as_deref(), Some(expected), "{scope}");
        }
    }

    #[test]
    fn what_is_nearly_a_scope_of_ours_allows_nothing() {
        for scope in [
            "openid",
            "user/Patient.read",
            "user/ImagingStudy",
            "user/ImagingStudy.",
            "user/ImagingStudy.sr",
            "user/ImagingStudy.rr",
            "user/ImagingStudy.readwrite",
            "user/ImagingStudy.rs?subject=Patient/1",
            "launch/ImagingStudy.rs",
            "dicomweb:read",
            "dicomweb:admin:main",
            "/ImagingStudy.rs",
        ] {
            assert_eq!(said(scope), None, "{scope}");
        }
    }
}
