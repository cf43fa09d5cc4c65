//! Scopes and roles of a token → what they allow.
//!
//! Besides what is configured, two notations are known: `dicomweb:search:main`, and those of SMART App Launch for
//! ImagingStudy, in its first version (`user/ImagingStudy.read`) and its second (`user/ImagingStudy.rs`).

use super::grants::{Grant, Operation};

/// What a scope allows by its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) allowed: Vec<Grant>,
    /// With the patient alone whom the token names.
    pub(super) one_patient: bool,
}

/// What a scope allows; `None`: it is none of ours.
pub(super) fn meaning(scope: &str) -> Option<Meaning> {
    if let Some(grant) = scope.strip_prefix("dicomweb:") {
        let allowed = vec![grant.parse().ok()?];
        return Some(Meaning { allowed, one_patient: false });
    }
    let (whose, what) = scope.split_once('/')?;
    let one_patient = match whose {
        "patient" => true,
        "user" | "system" => false,
        _ => return None,
    };
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
    let allowed = operations.into_iter().map(|operation| Grant { operation, archive: None }).collect();
    Some(Meaning { allowed, one_patient })
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
        let Meaning { allowed, one_patient } = meaning(scope)?;
        let words: Vec<String> = allowed
            .iter()
            .map(|grant| match &grant.archive {
                Some(archive) => format!("{}:{archive}", grant.operation),
                None => grant.operation.to_string(),
            })
            .collect();
        Some(words.join(" ") + if one_patient { " of one patient" } else { "" })
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
