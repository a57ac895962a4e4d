//! NVIDIA's run-time compiler, found on the machine and called by its C interface.
//!
//! Its library is opened by its full path, and its builtins before it, so that no `LD_LIBRARY_PATH` is needed.
//! Releases 12 and 13 have the same functions and may both be there.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::places::{open_builtins, places};
use super::{Compiled, Wanted};

type Program = *mut c_void;
type Code = c_int;

/// The library. It is never unloaded.
pub(super) struct Nvrtc {
    library: ManuallyDrop<Library>,
    path: PathBuf,
    version: (i32, i32),
    /// Capabilities that it has code for, as 90, ascending.
    known: Vec<i32>,
}

/// What to compile for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Machine code.
    Cubin(i32),
    /// PTX of an older capability, which the driver translates.
    Ptx(i32),
}

impl Target {
    pub(super) fn option(self) -> String {
        match self {
            Self::Cubin(known) => format!("--gpu-architecture=sm_{known}"),
            Self::Ptx(known) => format!("--gpu-architecture=compute_{known}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Cubin(known) => write!(f, "sm_{known}"),
            Self::Ptx(known) => write!(f, "PTX of sm_{known}"),
        }
    }
}

impl Nvrtc {
    /// The first one that suits the device, or the first at all; else why there is none.
    pub(super) fn find(wanted: Option<&Wanted>) -> Result<Self, String> {
        let mut refused = Vec::new();
        for path in places() {
            match Self::open(&path) {
                Ok(nvrtc) => match wanted.and_then(|wanted| nvrtc.unfit(wanted)) {
                    None => return Ok(nvrtc),
                    Some(why) => refused.push(format!("{} {why}", nvrtc.describe())),
                },
                Err(why) => log::debug!("{}: {why}", path.display()),
            }
        }
        let found = match (refused.is_empty(), std::env::var_os("XRFIT_NVRTC")) {
            (false, _) => format!("no suitable NVRTC was found: {}", refused.join("; ")),
            (true, Some(named)) => format!(
                "no NVRTC was found: XRFIT_NVRTC is {:?}, and no libnvrtc.so can be loaded from there",
                named
            ),
            (true, None) => "no NVRTC was found".into(),
        };
        Err(found)
    }

    fn open(path: &Path) -> Result<Self, String> {
        open_builtins(path);
        // SAFETY: loading NVRTC runs its initialisers, which need nothing of us.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
        let library = ManuallyDrop::new(library.map_err(|e| e.to_string())?);
        let mut nvrtc =
            Self { library, path: path.to_path_buf(), version: (0, 0), known: Vec::new() };
        let (mut major, mut minor, mut n) = (0, 0, 0);
        // SAFETY: the types are those of nvrtc.h, and the pointers lead to live values; `known` has room for the n
        // numbers that NVRTC writes.
        unsafe {
            let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Code =
                nvrtc.function(c"nvrtcVersion")?;
            nvrtc.check(version(&raw mut major, &raw mut minor))?;
            let count: unsafe extern "C" fn(*mut c_int) -> Code =
                nvrtc.function(c"nvrtcGetNumSupportedArchs")?;
            nvrtc.check(count(&raw mut n))?;
            let mut known = vec![0; n.max(0) as usize];
            let list: unsafe extern "C" fn(*mut c_int) -> Code =
                nvrtc.function(c"nvrtcGetSupportedArchs")?;
            nvrtc.check(list(known.as_mut_ptr()))?;
            known.sort_unstable();
            nvrtc.known = known;
        }
        nvrtc.version = (major, minor);
        Ok(nvrtc)
    }

    /// `NVRTC 12.9`.
    pub(super) fn name(&self) -> String {
        format!("NVRTC {}.{}", self.version.0, self.version.1)
    }

    /// The same, and where it is.
    pub(super) fn describe(&self) -> String {
        format!("{} ({})", self.name(), self.path.display())
    }

    /// Machine code where it knows the device, else PTX of the newest older one.
    pub(super) fn target(&self, (major, minor): (i32, i32)) -> Target {
        let device = 10 * major + minor;
        match self.known.iter().rev().find(|&&known| known <= device) {
            Some(&known) if known < device => Target::Ptx(known),
            _ => Target::Cubin(device),
        }
    }

    /// Why its code would not run, if it would not.
    fn unfit(&self, wanted: &Wanted) -> Option<String> {
        let driver = (wanted.driver / 1000, wanted.driver % 1000 / 10);
        let (major, minor) = wanted.capability;
        match self.target(wanted.capability) {
            Target::Cubin(device) if !self.known.contains(&device) => Some(format!(
                "has no code for devices as old as compute capability {major}.{minor}"
            )),
            Target::Cubin(_) if wanted.driver > 0 && self.version.0 > driver.0 => Some(format!(
                "makes code that a driver for CUDA {}.{} does not load",
                driver.0, driver.1
            )),
            Target::Ptx(_) if wanted.driver > 0 && self.version > driver => Some(format!(
                "does not know compute capability {major}.{minor}, and a driver for CUDA {}.{} does not translate \
                 its PTX",
                driver.0, driver.1
            )),
            _ => None,
        }
    }

    /// Compiles a source with the headers that it includes.
    pub(super) fn compile(
        &self,
        source: (&str, &str),
        headers: &[(&str, &str)],
        options: &[String],
    ) -> Result<Compiled, String> {
        let program = Running::new(self, source, headers)?;
        let done = program.compile(options);
        let log = program.text(c"nvrtcGetProgramLogSize", c"nvrtcGetProgramLog")?;
        let log = String::from_utf8_lossy(&log).trim_matches(['\0', '\n', ' ']).to_string();
        done.map_err(|why| {
            let options = options.join(" ");
            format!(
                "{} refused the kernels: {why} (options {options}); it says:\n{log}",
                self.name()
            )
        })?;
        let ptx = program.text(c"nvrtcGetPTXSize", c"nvrtcGetPTX")?;
        let cubin = program.text(c"nvrtcGetCUBINSize", c"nvrtcGetCUBIN")?;
        let image = if cubin.is_empty() { ptx.clone() } else { cubin };
        let ptx = String::from_utf8_lossy(&ptx).trim_end_matches('\0').to_string();
        Ok(Compiled { image, ptx, log })
    }

    /// A function of the library.
    ///
    /// # Safety
    ///
    /// `F` is its type in nvrtc.h.
    unsafe fn function<F: Copy>(&self, name: &CStr) -> Result<F, String> {
        // SAFETY: the caller's promise.
        let found = unsafe { self.library.get::<F>(name.to_bytes_with_nul()) };
        found.map(|function| *function).map_err(|e| e.to_string())
    }

    fn check(&self, code: Code) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the type is that of nvrtc.h; the text is static.
        let words = unsafe {
            self.function::<unsafe extern "C" fn(Code) -> *const c_char>(c"nvrtcGetErrorString")
                .map(|words| CStr::from_ptr(words(code)).to_string_lossy().into_owned())
        };
        Err(words.unwrap_or_else(|_| format!("NVRTC error {code}")))
    }
}

/// A program of NVRTC, destroyed when dropped.
struct Running<'a> {
    nvrtc: &'a Nvrtc,
    program: Program,
}

impl<'a> Running<'a> {
    fn new(
        nvrtc: &'a Nvrtc,
        (name, text): (&str, &str),
        headers: &[(&str, &str)],
    ) -> Result<Self, String> {
        type Create = unsafe extern "C" fn(
            *mut Program,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> Code;
        let (name, text) = (c_string(name)?, c_string(text)?);
        let texts = c_strings(headers.iter().map(|(_, text)| *text))?;
        let names = c_strings(headers.iter().map(|(name, _)| *name))?;
        let (text_list, name_list) = (pointers(&texts), pointers(&names));
        let mut program = std::ptr::null_mut();
        // SAFETY: the type is that of nvrtc.h; all strings end in NUL and live until the call returns, which copies
        // them; both lists have as many entries as is said.
        unsafe {
            nvrtc.check(nvrtc.function::<Create>(c"nvrtcCreateProgram")?(
                &raw mut program,
                text.as_ptr(),
                name.as_ptr(),
                headers.len() as c_int,
                text_list.as_ptr(),
                name_list.as_ptr(),
            ))?;
        }
        Ok(Self { nvrtc, program })
    }

    fn compile(&self, options: &[String]) -> Result<(), String> {
        type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Code;
        let options = c_strings(options.iter().map(String::as_str))?;
        let list = pointers(&options);
        // SAFETY: the type is that of nvrtc.h; the program is live, and so are the options.
        unsafe {
            let compile = self.nvrtc.function::<Compile>(c"nvrtcCompileProgram")?;
            self.nvrtc.check(compile(self.program, list.len() as c_int, list.as_ptr()))
        }
    }

    /// What a pair of functions gives: how many bytes, and the bytes.
    fn text(&self, size: &CStr, get: &CStr) -> Result<Vec<u8>, String> {
        let mut n = 0_usize;
        // SAFETY: the types are those of nvrtc.h; the buffer has the n bytes that NVRTC asks for.
        unsafe {
            let size: unsafe extern "C" fn(Program, *mut usize) -> Code =
                self.nvrtc.function(size)?;
            let get: unsafe extern "C" fn(Program, *mut c_char) -> Code =
                self.nvrtc.function(get)?;
            self.nvrtc.check(size(self.program, &raw mut n))?;
            let mut bytes = vec![0_u8; n];
            if n > 0 {
                self.nvrtc.check(get(self.program, bytes.as_mut_ptr().cast()))?;
            }
            Ok(bytes)
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // SAFETY: the type is that of nvrtc.h; the program is live and nobody uses it after this.
        unsafe {
            type Destroy = unsafe extern "C" fn(*mut Program) -> Code;
            if let Ok(destroy) = self.nvrtc.function::<Destroy>(c"nvrtcDestroyProgram") {
                destroy(&raw mut self.program);
            }
        }
    }
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("a NUL in {text:?}"))
}

fn c_strings<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<CString>, String> {
    texts.map(c_string).collect()
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).collect()
}
