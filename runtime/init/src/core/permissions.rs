//! Who may ask PID 1 for what.
//!
//! | a call of | device | manager | other container | network |
//! |---|---|---|---|---|
//! | [`Circle::Oneself`] | – | yes | yes | – |
//! | [`Circle::Declared`] | yes | yes | yes | – |
//! | [`Circle::Managers`] | yes | yes | – | – |
//! | [`Circle::Workstations`] | yes | yes | – | yes |
//! | [`Circle::Network`] | – | – | – | yes |
//!
//! A pure function of caller, role and call: no state of the device widens it. A manager is a container whose manifest
//! has the role `mgmt`; without roles it is none, unless the device is configured otherwise.

use formats::control::{Call, Caller, Refused, Status};

/// Whose a call is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Circle {
    /// What a container says about itself.
    Oneself,
    /// What the manifest of the caller names for it; the device has none, and may ask all the same.
    Declared,
    /// What manages the device, from inside of it.
    Managers,
    /// What managing takes that a workstation does, too.
    Workstations,
    /// What only makes sense to somebody outside.
    Network,
}

/// Every call is in one circle; a new one does not compile until somebody has decided in which.
fn circle(call: &Call) -> Circle {
    match call {
        Call::Signal { .. } => Circle::Oneself,
        Call::Drivers | Call::ActOnDrivers { .. } => Circle::Declared,
        Call::Containers
        | Call::Groups
        | Call::Daemons
        | Call::ActOnContainer { .. }
        | Call::ActOnDaemon { .. }
        | Call::Execute(_)
        | Call::SignalProgram { .. }
        | Call::Attach { .. }
        | Call::Inspect { .. }
        | Call::ReadLog { .. }
        | Call::Objects { .. }
        | Call::Steps { .. }
        | Call::Rollback
        | Call::Reboot
        | Call::PowerOff
        | Call::Collect
        | Call::Rewrite
        | Call::OfferPairing
        | Call::Pairings
        | Call::Unpair { .. }
        | Call::Metadata { .. }
        | Call::SetMetadata { .. }
        | Call::RemoveMetadata { .. } => Circle::Managers,
        Call::Device
        | Call::ReadObject { .. }
        | Call::SizeOfObject(_)
        | Call::Begin { .. }
        | Call::Put { .. }
        | Call::Finish { .. }
        | Call::Abandon { .. }
        | Call::ReadStep { .. }
        | Call::Progress(_)
        | Call::SetMessage { .. }
        | Call::Run { .. } => Circle::Workstations,
        Call::Enter | Call::Pair { .. } | Call::Leave => Circle::Network,
    }
}

/// Whether the caller may ask for this. `is_manager` is about a container, and nobody else.
///
/// # Errors
/// For the caller: what is missing.
pub(super) fn permit(caller: &Caller, is_manager: bool, call: &Call) -> Result<(), Refused> {
    let why = match (caller, circle(call)) {
        (Caller::Container(_), Circle::Oneself | Circle::Declared)
        | (Caller::Device, Circle::Declared | Circle::Managers | Circle::Workstations)
        | (Caller::Network(_), Circle::Workstations | Circle::Network) => return Ok(()),
        (Caller::Container(_), Circle::Managers | Circle::Workstations) if is_manager => return Ok(()),
        (Caller::Container(_), Circle::Managers | Circle::Workstations) => {
            "this container does not manage the device: its manifest lacks the role `mgmt`"
        }
        (Caller::Device, Circle::Oneself) => "only a container can signal",
        (Caller::Device | Caller::Container(_), Circle::Network) => "this is for the network",
        (Caller::Network(_), Circle::Oneself | Circle::Declared | Circle::Managers) => {
            "this is not offered on the network"
        }
    };
    Err(Refused::new(Status::Forbidden, why))
}

/// Whether somebody on the network has to be paired for this. Who says the code cannot be yet.
pub(super) fn needs_pairing(call: &Call) -> bool {
    !matches!(call, Call::Pair { .. })
}

/// Whether a call leaves something on the storage that the next boot has, or wants another revision to run.
pub(super) fn writes(call: &Call) -> bool {
    match call {
        Call::Begin { .. }
        | Call::Put { .. }
        | Call::Finish { .. }
        | Call::SetMessage { .. }
        | Call::SetMetadata { .. }
        | Call::RemoveMetadata { .. }
        | Call::Run { .. }
        | Call::Rollback
        | Call::Collect
        | Call::Rewrite
        | Call::OfferPairing
        | Call::Unpair { .. }
        | Call::Pair { .. }
        | Call::Leave => true,
        Call::Device
        | Call::Containers
        | Call::Groups
        | Call::Daemons
        | Call::ActOnContainer { .. }
        | Call::ActOnDaemon { .. }
        | Call::Execute(_)
        | Call::SignalProgram { .. }
        | Call::Attach { .. }
        | Call::Inspect { .. }
        | Call::ReadLog { .. }
        | Call::Signal { .. }
        | Call::Drivers
        | Call::ActOnDrivers { .. }
        | Call::Objects { .. }
        | Call::ReadObject { .. }
        | Call::SizeOfObject(_)
        | Call::Abandon { .. }
        | Call::Steps { .. }
        | Call::ReadStep { .. }
        | Call::Progress(_)
        | Call::Metadata { .. }
        | Call::Reboot
        | Call::PowerOff
        | Call::Enter
        | Call::Pairings => false,
    }
}

#[cfg(test)]
mod tests {
    use formats::control::{Action, LogFrom, Upload};
    use formats::metadata::Metadata;
    use formats::object::ObjectId;
    use formats::pairing::{Secret, TokenHash};
    use formats::path::ContainerName;
    use formats::run_json::{AbsentRoles, Manifest};
    use statemachine::ids::RevisionId;

    use super::*;

    /// Every call once, and who may: the `d`evice, a `m`anager, another `c`ontainer, the `n`etwork. One that is missing
    /// does not compile.
    macro_rules! table {
        ($($pattern:pat = $call:expr, $who:literal;)*) => {
            fn table() -> Vec<(Call, &'static str)> {
                let _: fn(&Call) = |call| match call { $($pattern => {})* };
                vec![$({
                    let call = $call;
                    assert!(matches!(call, $pattern), "{call:?} stands beside another call");
                    (call, $who)
                }),*]
            }
        };
    }

    table! {
        Call::Device = Call::Device, "dm-n";
        Call::Containers = Call::Containers, "dm--";
        Call::Groups = Call::Groups, "dm--";
        Call::Daemons = Call::Daemons, "dm--";
        Call::ActOnContainer { .. } = Call::ActOnContainer { name: "web".into(), action: Action::Stop }, "dm--";
        Call::ActOnDaemon { .. } = Call::ActOnDaemon { name: "front".into(), action: Action::Restart }, "dm--";
        Call::Execute(_) = Call::Execute(Box::default()), "dm--";
        Call::SignalProgram { .. } = Call::SignalProgram { program: 1, signal: 15 }, "dm--";
        Call::Attach { .. } = Call::Attach { name: "web".into() }, "dm--";
        Call::Inspect { .. } = Call::Inspect { name: "web".into() }, "dm--";
        Call::ReadLog { .. } = Call::ReadLog { name: "web".into(), from: LogFrom::Oldest, timed: false }, "dm--";
        Call::Signal { .. } = Call::Signal { kind: "ready".into() }, "-mc-";
        Call::Drivers = Call::Drivers, "dmc-";
        Call::ActOnDrivers { .. } = Call::ActOnDrivers { name: None, load: true }, "dmc-";
        Call::Objects { .. } = Call::Objects { after: None }, "dm--";
        Call::ReadObject { .. } = Call::ReadObject { id: object(), offset: 0 }, "dm-n";
        Call::SizeOfObject(_) = Call::SizeOfObject(object()), "dm-n";
        Call::Begin { .. } = Call::Begin { what: Upload::Object(object()), size: 0 }, "dm-n";
        Call::Put { .. } = Call::Put { upload: 1, bytes: vec![] }, "dm-n";
        Call::Finish { .. } = Call::Finish { upload: 1 }, "dm-n";
        Call::Abandon { .. } = Call::Abandon { upload: 1 }, "dm-n";
        Call::Steps { .. } = Call::Steps { after: None }, "dm--";
        Call::ReadStep { .. } = Call::ReadStep { revision: None, offset: 0 }, "dm-n";
        Call::Progress(_) = Call::Progress(RevisionId::factory()), "dm-n";
        Call::SetMessage { .. } = Call::SetMessage { revision: RevisionId::factory(), message: "x".into() }, "dm-n";
        Call::Run { .. } = Call::Run { revision: RevisionId::factory(), retry: true }, "dm-n";
        Call::Rollback = Call::Rollback, "dm--";
        Call::Reboot = Call::Reboot, "dm--";
        Call::PowerOff = Call::PowerOff, "dm--";
        Call::Collect = Call::Collect, "dm--";
        Call::Rewrite = Call::Rewrite, "dm--";
        Call::Enter = Call::Enter, "---n";
        Call::OfferPairing = Call::OfferPairing, "dm--";
        Call::Pairings = Call::Pairings, "dm--";
        Call::Unpair { .. } = Call::Unpair { who: "x".into() }, "dm--";
        Call::Metadata { .. } = Call::Metadata { of: Metadata::User, after: None }, "dm--";
        Call::SetMetadata { .. } = Call::SetMetadata { of: Metadata::User, key: "x".into(), value: "x".into() }, "dm--";
        Call::RemoveMetadata { .. } = Call::RemoveMetadata { of: Metadata::Device, key: "x".into() }, "dm--";
        Call::Pair { .. } = Call::Pair { code: Secret::new("x"), name: "x".into() }, "---n";
        Call::Leave = Call::Leave, "---n";
    }

    fn object() -> ObjectId {
        ObjectId::of(b"")
    }

    fn web() -> Caller {
        Caller::Container("web".into())
    }

    /// Who may, as the table says it: each caller with its letter, and whether it is a manager.
    fn who_may(call: &Call) -> String {
        let callers = [
            ('d', Caller::Device, false),
            ('m', web(), true),
            ('c', web(), false),
            ('n', Caller::Network(None), false),
        ];
        callers
            .map(|(letter, caller, is_manager)| if permit(&caller, is_manager, call).is_ok() { letter } else { '-' })
            .into_iter()
            .collect()
    }

    #[test]
    fn each_caller_may_ask_for_what_the_table_says_and_for_nothing_else() {
        for (call, who) in table() {
            assert_eq!(who_may(&call), who, "{call:?}");
        }
    }

    #[test]
    fn a_role_or_a_token_opens_nothing_to_whom_it_does_not_belong() {
        let token = Caller::Network(Some(TokenHash::of("token")));
        for (call, _) in table() {
            for caller in [Caller::Device, Caller::Network(None)] {
                assert_eq!(permit(&caller, true, &call), permit(&caller, false, &call), "{caller:?}: {call:?}");
            }
            assert_eq!(permit(&token, false, &call), permit(&Caller::Network(None), false, &call), "{call:?}");
        }
    }

    #[test]
    fn only_the_code_is_said_by_somebody_who_is_not_paired() {
        let unpaired: Vec<_> = table().into_iter().map(|(call, _)| call).filter(|call| !needs_pairing(call)).collect();
        assert!(matches!(unpaired[..], [Call::Pair { .. }]), "{unpaired:?}");
    }

    #[test]
    fn a_storage_to_be_read_is_asked_and_ended_and_not_changed() {
        let free: Vec<_> = table().into_iter().map(|(call, _)| call).filter(|call| !writes(call)).collect();
        assert!([Call::Device, Call::Containers, Call::Reboot, Call::PowerOff].iter().all(|call| free.contains(call)));
        let wants = [Call::Begin { what: Upload::Object(object()), size: 0 }, Call::Rollback, Call::Collect];
        assert!(wants.iter().all(writes));
    }

    #[test]
    fn a_refusal_is_a_403_that_says_what_is_missing() {
        let said = |caller: Caller, call| permit(&caller, false, &call).map_err(|why| (why.status, why.message));
        let says = |answer: Result<(), (Status, String)>, word: &str| {
            let (status, message) = answer.unwrap_err();
            assert_eq!(status, Status::Forbidden);
            assert!(message.contains(word), "{message}");
        };
        says(said(web(), Call::Reboot), "lacks the role `mgmt`");
        says(said(web(), Call::Enter), "for the network");
        says(said(Caller::Device, Call::Leave), "for the network");
        says(said(Caller::Device, Call::Signal { kind: "ready".into() }), "only a container");
        says(said(Caller::Network(None), Call::Reboot), "not offered on the network");
    }

    #[test]
    fn a_container_whose_manifest_has_no_roles_may_only_speak_of_itself() {
        let may = |roles: &str, absent: AbsentRoles| -> Vec<Call> {
            let name = ContainerName::parse("web").unwrap();
            let manifest = Manifest::parse(&name, &format!(r#"{{"name":"web"{roles}}}"#), &mut Vec::new()).unwrap();
            let is_manager = manifest.is_manager(absent);
            table().into_iter().map(|(call, _)| call).filter(|call| permit(&web(), is_manager, call).is_ok()).collect()
        };
        let ready =
            [Call::Signal { kind: "ready".into() }, Call::Drivers, Call::ActOnDrivers { name: None, load: true }];
        assert_eq!(may("", AbsentRoles::default()), ready);
        assert_eq!(may(r#","roles":["nobody"]"#, AbsentRoles::Mgmt), ready);
        assert_eq!(may(r#","roles":[]"#, AbsentRoles::Mgmt), ready);
        let all_inside = table().iter().filter(|(_, who)| who.contains('m')).count();
        assert_eq!(may("", AbsentRoles::Mgmt).len(), all_inside);
        assert_eq!(may(r#","roles":["mgmt"]"#, AbsentRoles::default()).len(), all_inside);
    }
}
