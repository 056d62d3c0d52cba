// The names a user needs, and no others. Everything below is documented where it is declared.
//
// A mirror in four lines:
//
//     let source = try Disk.openSource("/dev/nvme0n1")
//     let target = try Disk.openTarget("/dev/nvme1n1", for: source)
//     let job = try MirrorJob.full(from: source, to: target)
//     let report = await job.run()

@_exported public import enum BitmapStore.BitmapMode
@_exported public import enum BitmapStore.BitmapReference
@_exported public import enum BitmapStore.BitmapState
@_exported public import class BitmapStore.BitmapStore
@_exported public import enum BitmapStore.BitmapStoreError
@_exported public import struct BitmapStore.JobHolder
@_exported public import enum BitmapStore.JobMode
@_exported public import struct BitmapStore.LastSuccess
@_exported public import class BitmapStore.RecordingSession
@_exported public import enum BitmapStore.StorePlace
@_exported public import struct BitmapStore.StoredBitmap
@_exported public import struct BitmapStore.StoredJob
@_exported public import struct BitmapStore.StoredTarget
@_exported public import struct BitmapStore.TargetDoubt
@_exported public import enum BlockStorage.Access
@_exported public import struct BlockStorage.Allocation
@_exported public import enum BlockStorage.CacheChoice
@_exported public import enum BlockStorage.Caching
@_exported public import struct BlockStorage.DeviceIdentity
@_exported public import struct BlockStorage.Geometry
@_exported public import enum BlockStorage.GuardRefusal
@_exported public import struct BlockStorage.ImageLock
@_exported public import struct BlockStorage.ImageProblem
@_exported public import struct BlockStorage.PartitionTableNote
@_exported public import struct BlockStorage.SourceOptions
@_exported public import class BlockStorage.StorageDevice
@_exported public import enum BlockStorage.StorageError
@_exported public import enum BlockStorage.StorageKind
@_exported public import enum BlockStorage.StorageWait
@_exported public import struct BlockStorage.TargetOptions
@_exported public import struct BlockStorage.WriteCounters
@_exported public import enum BlockStorage.WriteEvidence
@_exported public import struct BlockStorage.WriteWitness
@_exported public import struct ChangeMap.ChangeMap
@_exported public import struct ChangeMap.ChangeMapError
@_exported public import enum ChangeMap.ChangeMapFormat
@_exported public import struct ChangeMap.ChangeMapOptions
@_exported public import struct DirtyBitmap.DirtyBitmap
@_exported public import enum DirtyBitmap.DirtyBitmapError
@_exported public import struct DirtyBitmap.Granularity
@_exported public import enum MirrorEngine.CommitJob
@_exported public import class MirrorEngine.CompareJob
@_exported public import struct MirrorEngine.CompareReport
@_exported public import struct MirrorEngine.ComparisonRecord
@_exported public import class MirrorEngine.Disk
@_exported public import enum MirrorEngine.ErrorPolicy
@_exported public import struct MirrorEngine.FailedRange
@_exported public import enum MirrorEngine.FailureCause
@_exported public import class MirrorEngine.ImageJob
@_exported public import struct MirrorEngine.ImageJobReport
@_exported public import protocol MirrorEngine.Job
@_exported public import struct MirrorEngine.JobID
@_exported public import enum MirrorEngine.JobKind
@_exported public import enum MirrorEngine.JobPhase
@_exported public import struct MirrorEngine.JobProgress
@_exported public import struct MirrorEngine.JobUpdates
@_exported public import enum MirrorEngine.JobVerb
@_exported public import struct MirrorEngine.JobVerbError
@_exported public import struct MirrorEngine.Measurement
@_exported public import struct MirrorEngine.MirrorClaim
@_exported public import enum MirrorEngine.MirrorError
@_exported public import enum MirrorEngine.MirrorEvidence
@_exported public import class MirrorEngine.MirrorJob
@_exported public import struct MirrorEngine.MirrorOptions
@_exported public import enum MirrorEngine.MirrorOutcome
@_exported public import enum MirrorEngine.MirrorPhase
@_exported public import struct MirrorEngine.MirrorReport
@_exported public import enum MirrorEngine.MirrorSide
@_exported public import enum MirrorEngine.MirrorVerification
@_exported public import class MirrorEngine.RecordedMirror
@_exported public import enum MirrorEngine.StreamJob
@_exported public import enum MirrorEngine.ZeroHandling
@_exported public import struct QCOW2.ImageBitmap
@_exported public import struct QCOW2.ImageBitmapList
@_exported public import class QCOW2.ImageBitmaps
@_exported public import class QCOW2.ImageChain
@_exported public import enum QCOW2.ImageFormat
@_exported public import class QCOW2.Layer
@_exported public import struct QCOW2.LayerAllocation
@_exported public import struct QCOW2.NewImageOptions
@_exported public import enum Ring.IOMethod
@_exported public import struct Ring.QueueStatistics
@_exported public import enum Ring.RingError
@_exported public import struct SystemPackage.Errno
@_exported public import struct SystemPackage.FilePath
