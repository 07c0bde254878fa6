#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _verdict = snapferry_fuzz::descriptions::run(data);
});
