import ChangeMap
import DirtyBitmap

/// What libFuzzer calls with each input it makes up: `make fuzz`.
///
/// The first byte chooses the format, none among them; the rest is the file. Whatever it is,
/// reading ends with an error or with a map whose extents are in order, apart, and within the disk.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let start, count > 0 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: start, count: count))
    let formats = ChangeMapFormat.allCases
    let choice = Int(input[0]) % (formats.count + 1)
    let size: Int64 = 64 << 20
    let options = ChangeMapOptions(
        format: choice < formats.count ? formats[choice] : nil, blockSize: 65536)
    guard
        let map = try? ChangeMap.read(
            Array(input.dropFirst()), name: "fuzz", deviceSize: size, options: options)
    else { return 0 }
    var end: Int64 = 0
    for extent in map.extents {
        precondition(extent.range.lowerBound >= end && !extent.range.isEmpty)
        end = extent.range.upperBound
    }
    precondition(end <= size)
    var bitmap = DirtyBitmap(size: size, granularity: map.exactGranularity)
    map.mark(in: &bitmap)
    precondition(bitmap.dirtyBytes >= map.dirtyBytes)
    return 0
}
