//! The transfer syntax of one context, by what the archives behind take.

use crate::archive::relay::Taken;
use crate::dicom::Uid;
use crate::dicom::native::can_become;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE, is_lossy};
use crate::dimse::pdu::context_result;

/// Why a context is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// For this reason (PS3.8 Table 9-18).
    Refused(u8),
    /// It cannot be found out now whether the archive takes it.
    Unknown,
}

/// The transfer syntax, or why not.
pub(super) type Choice = Result<Uid, Why>;

const NO_SYNTAX: Why = Why::Refused(context_result::TRANSFER_SYNTAXES);

/// The best syntax for objects: what is preferred, else the proposer's first; never lossy beside another.
pub(super) fn preferred(proposed: &[Uid], preference: &[Uid]) -> Choice {
    order(proposed, preference).first().map(|syntax| (*syntax).clone()).ok_or(NO_SYNTAX)
}

/// The best syntax for what is no image: what is preferred, else Explicit VR Little Endian, else Implicit.
pub(super) fn plain(proposed: &[Uid], preference: &[Uid]) -> Choice {
    let plain: Vec<Uid> = proposed.iter().filter(|syntax| is_plain(syntax)).cloned().collect();
    explicit_first(&plain, preference).ok_or(NO_SYNTAX)
}

/// For requests that are passed on: a syntax that the archive takes too, so that nothing is re-encoded; else a native
/// one where it takes the other. `None`: it has not answered in time.
pub(super) fn relayed(proposed: &[Uid], taken: Option<&Taken>, preference: &[Uid]) -> Choice {
    let accepted = match taken {
        None | Some(Taken::Unknown(_)) => return Err(Why::Unknown),
        Some(Taken::Refused(reason)) => return Err(Why::Refused(*reason)),
        Some(Taken::Accepted(accepted, _)) => accepted,
    };
    let both: Vec<Uid> = proposed.iter().filter(|syntax| accepted.contains(syntax)).cloned().collect();
    match explicit_first(&both, preference) {
        Some(syntax) => Ok(syntax),
        None if accepted.iter().any(is_plain) => plain(proposed, preference),
        None => Err(NO_SYNTAX),
    }
}

/// For retrievals: the archive takes one of the operations by which they are served.
pub(super) fn retrieved(proposed: &[Uid], taken: Option<&[Taken]>, preference: &[Uid]) -> Choice {
    let Some(taken) = taken else { return Err(Why::Unknown) };
    if taken.iter().any(|one| matches!(one, Taken::Accepted(..))) {
        return plain(proposed, preference);
    }
    match taken.iter().any(|one| matches!(one, Taken::Unknown(_))) {
        true => Err(Why::Unknown),
        false => Err(Why::Refused(context_result::ABSTRACT_SYNTAX)),
    }
}

/// For objects: what all archives take to which they may go, as it is or re-encoded among native syntaxes; else what one
/// of them takes. Which of them an object goes to, its modality may decide; its own response tells then.
pub(super) fn stored(proposed: &[Uid], taken: &[Option<&Taken>], preference: &[Uid]) -> Choice {
    let is_taken = |syntax: &Uid, one: &Option<&Taken>| match one {
        Some(Taken::Accepted(accepted, _)) => {
            accepted.iter().any(|to| syntax == to || can_become(syntax, to))
        }
        _ => false,
    };
    let order = order(proposed, preference);
    let by_all = order.iter().find(|syntax| taken.iter().all(|one| is_taken(syntax, one)));
    let by_one = || order.iter().find(|syntax| taken.iter().any(|one| is_taken(syntax, one)));
    if let Some(syntax) = by_all.filter(|_| !taken.is_empty()).or_else(by_one) {
        return Ok((*syntax).clone());
    }
    if taken.iter().any(|one| matches!(one, None | Some(Taken::Unknown(_)))) {
        return Err(Why::Unknown);
    }
    let class = Taken::Refused(context_result::ABSTRACT_SYNTAX);
    match taken.iter().all(|one| *one == Some(&class)) {
        true => Err(Why::Refused(context_result::ABSTRACT_SYNTAX)),
        false => Err(NO_SYNTAX),
    }
}

/// The best first.
fn order<'a>(proposed: &'a [Uid], preference: &[Uid]) -> Vec<&'a Uid> {
    let rank = |syntax: &&Uid| preference.iter().position(|one| one == *syntax).unwrap_or(usize::MAX);
    let mut order: Vec<&Uid> = proposed.iter().collect();
    // The sort is stable: else the proposer's order.
    order.sort_by_key(|syntax| (is_lossy(syntax), rank(syntax)));
    order
}

fn explicit_first(proposed: &[Uid], preference: &[Uid]) -> Option<Uid> {
    let mut order = order(proposed, preference);
    let is_preferred = |syntax: &Uid| preference.contains(syntax);
    order.sort_by_key(|syntax| !(is_preferred(syntax) || syntax.as_str() == EXPLICIT_VR_LE));
    order.first().map(|syntax| (*syntax).clone())
}

/// What every data set can be re-encoded into.
fn is_plain(syntax: &Uid) -> bool {
    [EXPLICIT_VR_LE, IMPLICIT_VR_LE].contains(&syntax.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Error, error};
    use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE};

    const JPEG: &str = "1.2.840.10008.1.2.4.50";
    const LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
    const PRIVATE: &str = "1.3.6.1.4.1.5.5";

    fn uids(texts: &[&str]) -> Vec<Uid> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn takes(texts: &[&str]) -> Taken {
        Taken::Accepted(uids(texts), None)
    }

    fn down() -> Taken {
        Taken::Unknown(Error::new("main", error::Kind::QueueTimeout))
    }

    fn text(choice: Choice) -> Result<String, Why> {
        choice.map(|syntax| syntax.to_string())
    }

    fn chosen(syntax: &str) -> Result<String, Why> {
        Ok(syntax.to_owned())
    }

    #[test]
    fn lossy_is_never_chosen_beside_lossless() {
        let offered = uids(&[JPEG, LOSSLESS, EXPLICIT_VR_LE]);
        assert_eq!(text(preferred(&offered, &[])), chosen(LOSSLESS));
        assert_eq!(text(preferred(&offered, &uids(&[JPEG, EXPLICIT_VR_LE]))), chosen(EXPLICIT_VR_LE));
        assert_eq!(text(preferred(&offered[..1], &[])), chosen(JPEG), "where nothing else is offered");
        let all = takes(&[JPEG, LOSSLESS, EXPLICIT_VR_LE]);
        assert_eq!(text(stored(&offered, &[Some(&all)], &[])), chosen(LOSSLESS));
        let native = takes(&[JPEG, IMPLICIT_VR_LE]);
        assert_eq!(text(stored(&offered, &[Some(&native)], &[])), chosen(EXPLICIT_VR_LE), "re-encoded");
    }

    #[test]
    fn a_request_is_passed_on_as_it_is_where_the_archive_takes_it_so() {
        let both = uids(&[IMPLICIT_VR_LE, EXPLICIT_VR_LE]);
        let relay = |proposed: &[Uid], taken: Taken| text(relayed(proposed, Some(&taken), &[]));
        assert_eq!(relay(&both, takes(&[IMPLICIT_VR_LE])), chosen(IMPLICIT_VR_LE));
        assert_eq!(relay(&both, takes(&[IMPLICIT_VR_LE, EXPLICIT_VR_LE])), chosen(EXPLICIT_VR_LE));
        assert_eq!(relay(&both[..1], takes(&[EXPLICIT_VR_LE])), chosen(IMPLICIT_VR_LE), "re-encoded");
        let deflated = uids(&[DEFLATED_EXPLICIT_VR_LE]);
        assert_eq!(relay(&deflated, takes(&[DEFLATED_EXPLICIT_VR_LE])), chosen(DEFLATED_EXPLICIT_VR_LE));
        assert_eq!(relay(&deflated, takes(&[EXPLICIT_VR_LE])), Err(NO_SYNTAX));
        assert_eq!(relay(&uids(&[EXPLICIT_VR_BE]), takes(&[EXPLICIT_VR_LE])), Err(NO_SYNTAX));
        for reason in 1..5 {
            assert_eq!(relay(&both, Taken::Refused(reason)), Err(Why::Refused(reason)));
        }
        assert_eq!(relay(&both, down()), Err(Why::Unknown));
        assert_eq!(relayed(&both, None, &[]), Err(Why::Unknown));
    }

    #[test]
    fn what_is_configured_to_be_preferred_comes_first() {
        let both = uids(&[EXPLICIT_VR_LE, IMPLICIT_VR_LE]);
        let implicit = uids(&[IMPLICIT_VR_LE]);
        let all = takes(&[EXPLICIT_VR_LE, IMPLICIT_VR_LE]);
        assert_eq!(text(relayed(&both, Some(&all), &implicit)), chosen(IMPLICIT_VR_LE));
        assert_eq!(text(plain(&both, &implicit)), chosen(IMPLICIT_VR_LE));
        assert_eq!(text(stored(&both, &[Some(&all)], &implicit)), chosen(IMPLICIT_VR_LE));
        let private = uids(&[LOSSLESS, PRIVATE]);
        assert_eq!(text(preferred(&private, &uids(&[PRIVATE]))), chosen(PRIVATE));
    }

    #[test]
    fn an_archive_retrieves_by_any_of_the_operations() {
        let proposed = uids(&[IMPLICIT_VR_LE, EXPLICIT_VR_LE]);
        let retrieve = |taken: &[Taken]| text(retrieved(&proposed, Some(taken), &[]));
        assert_eq!(retrieve(&[Taken::Refused(3), takes(&[IMPLICIT_VR_LE])]), chosen(EXPLICIT_VR_LE));
        assert_eq!(retrieve(&[Taken::Refused(3), Taken::Refused(4)]), Err(Why::Refused(3)));
        assert_eq!(retrieve(&[Taken::Refused(3), down()]), Err(Why::Unknown));
        assert_eq!(retrieved(&proposed, None, &[]), Err(Why::Unknown));
    }

    #[test]
    fn an_object_is_taken_in_what_all_archives_take_else_in_what_one_takes() {
        let proposed = uids(&[LOSSLESS, EXPLICIT_VR_LE]);
        let (all, native, none) =
            (takes(&[LOSSLESS, EXPLICIT_VR_LE]), takes(&[IMPLICIT_VR_LE]), Taken::Refused(3));
        let store = |taken: &[&Taken]| {
            let taken: Vec<Option<&Taken>> = taken.iter().map(|one| Some(*one)).collect();
            text(stored(&proposed, &taken, &[]))
        };
        assert_eq!(store(&[&all]), chosen(LOSSLESS));
        assert_eq!(store(&[&all, &native]), chosen(EXPLICIT_VR_LE));
        assert_eq!(store(&[&all, &none]), chosen(LOSSLESS));
        assert_eq!(store(&[&none, &none]), Err(Why::Refused(3)));
        assert_eq!(store(&[&none, &Taken::Refused(4)]), Err(NO_SYNTAX));
        assert_eq!(store(&[&none, &down()]), Err(Why::Unknown));
        assert_eq!(stored(&proposed, &[Some(&none), None], &[]), Err(Why::Unknown));
    }
}
