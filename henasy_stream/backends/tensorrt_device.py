"""Memory, streams and graphs of an NVIDIA GPU, by the driver's own library.

`libcuda.so.1` comes with every driver, on a desktop and on a Jetson, and its functions keep their meaning from version
to version.  A package such as cuda-bindings must fit the CUDA of the machine (12 on JetPack 6, 13 on JetPack 7); these
two dozen functions need none, and no torch.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError

LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_…
_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_…: other threads may go on allocating
_NON_BLOCKING = 1  # CU_STREAM_…
_NO_DEVICE = 100  # CUDA_ERROR_…

_Pointer = ctypes.c_void_p
_Address = ctypes.c_uint64
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuInit": (ctypes.c_uint,),
    "cuDriverGetVersion": (_Pointer,),
    "cuDeviceGet": (_Pointer, ctypes.c_int),
    "cuDeviceGetName": (ctypes.c_char_p, ctypes.c_int, ctypes.c_int),
    "cuDeviceGetAttribute": (_Pointer, ctypes.c_int, ctypes.c_int),
    "cuDevicePrimaryCtxRetain": (_Pointer, ctypes.c_int),
    "cuCtxSetCurrent": (_Pointer,),
    "cuMemAlloc_v2": (_Pointer, ctypes.c_size_t),
    "cuMemFree_v2": (_Address,),
    "cuMemHostAlloc": (_Pointer, ctypes.c_size_t, ctypes.c_uint),
    "cuMemFreeHost": (_Pointer,),
    "cuMemcpyHtoDAsync_v2": (_Address, _Pointer, ctypes.c_size_t, _Pointer),
    "cuMemcpyDtoHAsync_v2": (_Pointer, _Address, ctypes.c_size_t, _Pointer),
    "cuStreamCreate": (_Pointer, ctypes.c_uint),
    "cuStreamSynchronize": (_Pointer,),
    "cuStreamBeginCapture_v2": (_Pointer, ctypes.c_int),
    "cuStreamEndCapture": (_Pointer, _Pointer),
    "cuGraphInstantiateWithFlags": (_Pointer, _Pointer, ctypes.c_ulonglong),
    "cuGraphDestroy": (_Pointer,),
    "cuGraphExecDestroy": (_Pointer,),
    "cuGraphLaunch": (_Pointer, _Pointer),
    "cuGetErrorString": (ctypes.c_int, _Pointer),
}


class NoGpuError(UserError):
    """There is no GPU here, or no driver for it."""


class DeviceError(RuntimeError):
    """The driver refused something."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The first GPU that is visible.  capability: as in "8.7".  driver: the newest CUDA that it knows, as in "12.6"."""

    name: str
    capability: str
    driver: str


class Driver:
    """The library and the context of the first visible GPU, which TensorRT and CUDA's runtime use, too."""

    def __init__(self) -> None:
        self._library = _library()
        code = self._library.cuInit(0)
        if code:
            reason = "no NVIDIA GPU" if code == _NO_DEVICE else f"the NVIDIA driver does not start: {self._text(code)}"
            raise NoGpuError(f"{reason}; nvidia-smi (on a Jetson: tegrastats) says more")
        self._device = int(self._out(ctypes.c_int, "cuDeviceGet", 0))
        self._context = self._out(_Pointer, "cuDevicePrimaryCtxRetain", self._device)

    def gpu(self) -> Gpu:
        """What it is."""
        name = ctypes.create_string_buffer(128)
        self.call("cuDeviceGetName", name, len(name), self._device)
        major, minor = (int(self._out(ctypes.c_int, "cuDeviceGetAttribute", a, self._device)) for a in (_MAJOR, _MINOR))
        version = int(self._out(ctypes.c_int, "cuDriverGetVersion"))
        return Gpu(
            name=name.value.decode(errors="replace"),
            capability=f"{major}.{minor}",
            driver=f"{version // 1000}.{version % 1000 // 10}",
        )

    def enter(self) -> None:
        """Makes the context that of the calling thread; all other functions need it."""
        self.call("cuCtxSetCurrent", self._context)

    def stream(self) -> Stream:
        """A queue of work."""
        return Stream(self, self._out(_Pointer, "cuStreamCreate", _NON_BLOCKING))

    def allocate(self, size: int) -> int:
        """The address of so many bytes on the device."""
        return int(self._out(_Address, "cuMemAlloc_v2", max(size, 1)))

    def allocate_host(self, size: int) -> int:
        """The address of so many bytes in memory that the device can copy to and from while the CPU goes on."""
        return int(self._out(_Pointer, "cuMemHostAlloc", max(size, 1), 0) or 0)

    def call(self, name: str, *arguments: Any) -> None:
        """One function.

        Raises:
            DeviceError: with the driver's words.
        """
        code = getattr(self._library, name)(*arguments)
        if code:
            raise DeviceError(f"{name}: {self._text(code)}")

    def _out(self, kind: Any, name: str, *arguments: Any) -> Any:
        """The value that a function writes through its first argument."""
        value = kind()
        self.call(name, ctypes.byref(value), *arguments)
        return value.value

    def _text(self, code: int) -> str:
        text = ctypes.c_char_p()
        self._library.cuGetErrorString(code, ctypes.byref(text))
        return text.value.decode(errors="replace") if text.value else f"error {code}"


class Array:
    """A tensor on the device and, where it goes to or comes from the host, its twin there.  Freed when forgotten."""

    def __init__(self, driver: Driver, shape: tuple[int, ...], dtype: str, *, host: bool = False) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.size = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self._driver = driver
        self.address = driver.allocate(self.size)
        weakref.finalize(self, _free, driver, "cuMemFree_v2", self.address)
        self._twin: npt.NDArray[Any] | None = None
        if host:
            self._pinned = driver.allocate_host(self.size)
            weakref.finalize(self, _free, driver, "cuMemFreeHost", self._pinned)
            memory = (ctypes.c_ubyte * self.size).from_address(self._pinned)
            self._twin = np.ctypeslib.as_array(memory).view(self.dtype).reshape(shape)

    def put(self, values: npt.NDArray[Any], stream: Stream) -> None:
        """Copies values to the device; they may be changed as soon as this returns."""
        if self._twin is None:
            held = np.ascontiguousarray(values, self.dtype)
            assert held.shape == self.shape, f"{held.shape} instead of {self.shape}"
            self._driver.call("cuMemcpyHtoDAsync_v2", self.address, held.ctypes.data, self.size, stream.handle)
            stream.wait()
            return
        np.copyto(self._twin, values)
        self._driver.call("cuMemcpyHtoDAsync_v2", self.address, self._pinned, self.size, stream.handle)

    def fetch(self, stream: Stream) -> None:
        """Begins to copy it to the host; it is there when the stream has been waited for."""
        assert self._twin is not None
        self._driver.call("cuMemcpyDtoHAsync_v2", self._pinned, self.address, self.size, stream.handle)

    def fetched(self) -> npt.NDArray[Any]:
        """A copy of what was fetched last."""
        assert self._twin is not None
        return self._twin.copy()

    def read(self, stream: Stream) -> npt.NDArray[Any]:
        """What it holds now, after all that is in the stream."""
        values = np.empty(self.shape, self.dtype)
        self._driver.call("cuMemcpyDtoHAsync_v2", values.ctypes.data, self.address, self.size, stream.handle)
        stream.wait()
        return values


class Stream:
    """A queue of work on the device."""

    def __init__(self, driver: Driver, handle: int) -> None:
        self.handle = handle
        self._driver = driver

    def wait(self) -> None:
        """Until all of it is done."""
        self._driver.call("cuStreamSynchronize", self.handle)

    def begin_capture(self) -> None:
        """What is put into the queue from now on is recorded instead of done."""
        self._driver.call("cuStreamBeginCapture_v2", self.handle, _THREAD_LOCAL)

    def end_capture(self) -> Graph:
        """What was recorded."""
        return Graph(self._driver, self._driver._out(_Pointer, "cuStreamEndCapture", self.handle))


class Graph:
    """Recorded work that is put into a queue as a whole, which costs the CPU next to nothing."""

    def __init__(self, driver: Driver, recorded: int) -> None:
        self._driver = driver
        try:
            self._handle = driver._out(_Pointer, "cuGraphInstantiateWithFlags", recorded, 0)
        finally:
            driver.call("cuGraphDestroy", recorded)
        weakref.finalize(self, _free, driver, "cuGraphExecDestroy", self._handle)

    def launch(self, stream: Stream) -> None:
        """Puts it into a queue."""
        self._driver.call("cuGraphLaunch", self._handle, stream.handle)


@functools.cache
def open_driver() -> Driver:
    """The driver, once a process.

    Raises:
        NoGpuError: there is none, or no GPU.
    """
    return Driver()


def _library() -> Any:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NoGpuError(f"no NVIDIA driver ({error}); install it, or take --backend onnxruntime") from None
    for name, kinds in _FUNCTIONS.items():
        function = getattr(library, name, None)
        if function is None:
            raise UserError(f"the NVIDIA driver lacks {name}; update it to one for CUDA 12 or newer")
        function.argtypes, function.restype = kinds, ctypes.c_int
    return library


def _free(driver: Driver, name: str, handle: int) -> None:
    """At exit the driver may be gone already, which is no error then."""
    driver._library.cuCtxSetCurrent(driver._context)  # whichever thread forgets it
    getattr(driver._library, name)(handle)
