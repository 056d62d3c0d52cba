import ArgumentParser
import RingMirror

/// Reports an error in the form that was asked for, and gives the exit that goes with it.
struct Complaint {
    let output: OutputOptions

    func end(_ failure: Failure) -> ExitCode {
        Self.report(failure, json: output.json)
        return failure.exit.asError
    }

    func end(
        _ code: ErrorCode, _ problem: String, remedy: String? = nil, _ exit: Exit
    ) -> ExitCode {
        end(Failure(code, problem, remedy: remedy, exit))
    }

    func end(_ error: StorageError) -> ExitCode { end(Failure(error)) }

    func end(_ error: MirrorError) -> ExitCode { end(Failure(error)) }

    func end(_ error: BitmapStoreError) -> ExitCode { end(Failure(error)) }

    /// Opens something, or ends with why it can't be.
    func attempt<Opened>(
        _ open: () throws(StorageError) -> Opened
    ) throws(ExitCode) -> Opened {
        do throws(StorageError) { return try open() } catch { throw end(error) }
    }

    /// Does something, or ends with why it can't be done.
    func perform<Result: ~Copyable>(
        _ body: () throws(MirrorError) -> Result
    ) throws(ExitCode) -> Result {
        do throws(MirrorError) { return try body() } catch { throw end(error) }
    }

    /// A granularity that the user has given, or the end if there is none of that size.
    func granularity(_ size: ByteSize) throws(ExitCode) -> Granularity {
        do throws(DirtyBitmapError) { return try Granularity(bytes: size.bytes) } catch {
            throw end(.invalidGranularity, "\(error)", .usage)
        }
    }

    static func report(_ failure: Failure, json: Bool) {
        if json { Events.print(Events.Failure(failure)) }
        Message.say(failure.message)
    }
}
