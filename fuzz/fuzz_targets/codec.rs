#![no_main]

#[path = "../targets/codec.rs"]
mod target;

libfuzzer_sys::fuzz_target!(
    init: {
        // The fuzzer takes any panic for a finding, also one that a codec is kept from passing on: jxl-oxide has assertions that
        // codestreams can reach.
        let finding = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|at| at.file().contains("/jxl-")) {
                finding(panic);
            }
        }));
    },
    |data: &[u8]| target::run(data)
);
