/// Finds active swap space on a device or file.
enum SwapGuard {
    static func uses(of identity: NodeIdentity, _ survey: Survey) -> [Use] {
        survey.swaps.filter { $0.identity == identity }.map { .swap($0.path) }
    }
}
