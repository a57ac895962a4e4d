//! Promise: the stand-in for the CUDA driver is strict where a card is, so that what runs on it may run on a card.
//! Driven by cudarc itself: it has as many devices and as much memory as it is told, refuses copies outside of its
//! memory, and does work only when somebody waits for it. standin_kernels.rs is about launches.

#![cfg(feature = "cuda")]

#[path = "common/standin.rs"]
mod standin;

use std::ffi::c_void;

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, DevicePtr, result};
use cudarc::nvrtc::Ptx;
use standin::{code, is_started, succeeds};

#[test]
fn without_devices_there_is_an_error_and_no_panic() {
    succeeds("asks_for_no_device", &[("XRF_STANDIN_DEVICES", "0")]);
    succeeds("asks_for_no_device", &[("CUDA_VISIBLE_DEVICES", "")]);
}

#[test]
#[ignore = "started by the test above"]
fn asks_for_no_device() {
    if is_started() {
        assert_eq!(code(CudaContext::device_count()), CUresult::CUDA_ERROR_NO_DEVICE);
    }
}

#[test]
fn devices_have_names_and_memories_of_their_own() {
    let variables = [("XRF_STANDIN_DEVICES", "3"), ("XRF_STANDIN_MEMORY", "1048576")];
    let Some((log, _)) = succeeds("fills_one_of_three_devices", &variables) else { return };
    let contexts: Vec<usize> = log.of("context").iter().map(|e| e.device).collect();
    assert_eq!(contexts, [0, 1, 2], "contexts in the log");
    let refused = log.of("alloc of 600000 bytes refused");
    assert_eq!(refused.iter().map(|e| e.device).collect::<Vec<_>>(), [1], "{:?}", log.events());
}

#[test]
#[ignore = "started by the test above"]
fn fills_one_of_three_devices() {
    if !is_started() {
        return;
    }
    assert_eq!(CudaContext::device_count(), Ok(3));
    assert_eq!(code(CudaContext::new(3)), CUresult::CUDA_ERROR_INVALID_DEVICE);
    let all = [0, 1, 2].map(|i| CudaContext::new(i).expect("a device"));
    for (i, device) in all.iter().enumerate() {
        assert_eq!(device.name(), Ok(format!("stand-in device {i} (no GPU)")));
        assert_eq!(device.compute_capability(), Ok((9, 0)));
        assert_eq!(device.mem_get_info(), Ok((1 << 20, 1 << 20)));
    }
    assert_ne!(all[0].uuid().expect("it has one").bytes, all[1].uuid().expect("it too").bytes);
    let streams = [&all[1], &all[2]].map(|device| device.default_stream());
    // SAFETY: the memory is compared with what the stand-in fills it with.
    let alloc = |i: usize| unsafe { streams[i].alloc::<u8>(600_000) };
    let first = alloc(0).expect("it fits");
    let unwritten = streams[0].clone_dtoh(&first).expect("it is read");
    assert!(unwritten.iter().all(|&b| b == 0xff), "new memory holds 0xff");
    assert_eq!(code(alloc(0)), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    alloc(1).expect("another device has its own memory");
    drop(first);
    alloc(0).expect("memory comes back");
}

#[test]
fn a_process_sees_the_devices_that_it_is_told_of() {
    let variables = [("XRF_STANDIN_DEVICES", "3"), ("CUDA_VISIBLE_DEVICES", "2,1")];
    let Some((log, _)) = succeeds("sees_two_devices", &variables) else { return };
    assert_eq!(log.of("context").iter().map(|e| e.device).collect::<Vec<_>>(), [2]);
}

#[test]
#[ignore = "started by the test above"]
fn sees_two_devices() {
    if is_started() {
        assert_eq!(CudaContext::device_count(), Ok(2));
        let device = CudaContext::new(0).expect("a device");
        assert_eq!(device.name().as_deref(), Ok("stand-in device 2 (no GPU)"));
    }
}

#[test]
fn wrong_addresses_and_names_are_refused() {
    let Some((_, said)) = succeeds("makes_mistakes_with_memory", &[]) else { return };
    for what in
        ["a copy to the device of 101 bytes", "a copy from the device of 2 bytes", "leak: 1"]
    {
        assert!(said.contains(what), "{what} is named: {said}");
    }
}

#[test]
#[ignore = "started by the test above"]
fn makes_mistakes_with_memory() {
    if !is_started() {
        return;
    }
    use CUresult::{CUDA_ERROR_INVALID_IMAGE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_FOUND};
    let context = CudaContext::new(0).expect("a device");
    let used = context.default_stream();
    let stream = used.cu_stream();
    let slice = used.alloc_zeros::<u8>(100).expect("memory");
    let at = slice.device_ptr(&used).0;
    let mut two = [0u8; 2];
    // SAFETY: the stand-in refuses all of these.
    unsafe {
        let copied = result::memcpy_htod_async(at, &[1u8; 101], stream);
        assert_eq!(code(copied), CUDA_ERROR_INVALID_VALUE, "a copy that is too long");
        let copied = result::memcpy_dtoh_async(&mut two, at + 99, stream);
        assert_eq!(code(copied), CUDA_ERROR_INVALID_VALUE, "a copy that ends too late");
        let copied = result::memcpy_dtod_async(at - 1, at, 1, stream);
        assert_eq!(code(copied), CUDA_ERROR_INVALID_VALUE, "a copy that begins too early");
        assert_eq!(code(result::free_sync(at + 4)), CUDA_ERROR_INVALID_VALUE, "a wrong free");
        let again = result::malloc_sync(64).expect("memory");
        result::free_sync(again).expect("freed once");
        assert_eq!(code(result::free_sync(again)), CUDA_ERROR_INVALID_VALUE, "freed twice");
        let null = result::module::load_data(std::ptr::null::<c_void>());
        assert_eq!(code(null), CUDA_ERROR_INVALID_VALUE, "no image");
        let damaged = result::module::load_data(c"damaged".as_ptr().cast());
        assert_eq!(code(damaged), CUDA_ERROR_INVALID_IMAGE, "a damaged image");
        let forgotten = result::malloc_sync(64).expect("memory");
        assert_ne!(forgotten, 0);
    }
    let image = std::env::var_os("XRFIT_KERNELS").expect("an image is named");
    let module = context.load_module(Ptx::from_file(image)).expect("the image is loaded");
    assert_eq!(code(module.load_function("xrf_fit_warp_f16")), CUDA_ERROR_NOT_FOUND);
    assert_eq!(used.clone_dtoh(&slice), Ok(vec![0; 100]), "the memory is as it was");
}

#[test]
fn a_write_beside_an_allocation_is_found_when_it_is_freed() {
    let Some((log, said)) = succeeds("writes_beside_an_allocation", &[]) else { return };
    assert!(said.contains("something wrote beside an allocation of 100 bytes"), "{said}");
    assert_eq!(log.of("lost").len(), 1, "{:?}", log.events());
}

#[test]
#[ignore = "started by the test above"]
fn writes_beside_an_allocation() {
    if !is_started() {
        return;
    }
    let _context = CudaContext::new(0).expect("a device");
    // SAFETY: the stand-in's memory is the host's, with a guard behind it.
    let freed = unsafe {
        let p = result::malloc_sync(100).expect("memory");
        (p as *mut u8).add(100).write(7);
        result::free_sync(p)
    };
    assert_eq!(code(freed), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
}

#[test]
fn work_is_done_when_somebody_waits_for_it() {
    succeeds("reads_too_early", &[]);
}

#[test]
#[ignore = "started by the test above"]
fn reads_too_early() {
    if !is_started() {
        return;
    }
    let context = CudaContext::new(0).expect("a device");
    let [one, other] = [0, 1].map(|_| context.new_stream().expect("a stream"));
    // SAFETY: plain bytes, as the stand-in fills them.
    let mut host = unsafe { context.alloc_pinned_with_flags::<u8>(8, 0) }.expect("memory");
    let to = host.as_mut_ptr().expect("it is not in use");
    let slice = one.alloc_zeros::<u8>(8).expect("memory");
    let at = slice.device_ptr(&one).0;
    let event = one.record_event(None).expect("an event");
    other.wait(&event).expect("it waits");
    // SAFETY: 8 bytes on both sides; `host` outlives the copy.
    let (before, after) = unsafe {
        sys::cuMemcpyDtoHAsync_v2(to.cast(), at, 8, other.cu_stream()).result().expect("a copy");
        let before = *to;
        other.synchronize().expect("it ends");
        (before, *to)
    };
    assert_eq!((before, after), (0xff, 0), "pinned memory before and after waiting");
}
