/// Finds disks and images that the kernel itself offers over a network. The NVMe target claims
/// nothing, and no process shows an open file.
enum ExportGuard {
    static func uses(of identity: NodeIdentity, _ survey: Survey) -> [Use] {
        exports(survey.view).filter { survey.view.identify($0.path) == identity }
            .map { .exported(device: $0.path, by: $0.exporter) }
    }

    private static func exports(_ view: SystemView) -> [(path: String, exporter: String)] {
        nvmeExports(view) + scsiExports(view)
    }

    private static func nvmeExports(_ view: SystemView) -> [(path: String, exporter: String)] {
        let root = "/sys/kernel/config/nvmet/subsystems"
        return view.entries(root).flatMap { subsystem in
            view.entries("\(root)/\(subsystem)/namespaces").compactMap { namespace in
                let directory = "\(root)/\(subsystem)/namespaces/\(namespace)"
                guard view.number(directory + "/enable") == 1,
                    let path = view.value(directory + "/device_path")
                else { return nil }
                return (path, "NVMe subsystem \(subsystem), namespace \(namespace)")
            }
        }
    }

    private static func scsiExports(_ view: SystemView) -> [(path: String, exporter: String)] {
        let root = "/sys/kernel/config/target/core"
        return view.entries(root).flatMap { backend in
            view.entries("\(root)/\(backend)").compactMap { name in
                let directory = "\(root)/\(backend)/\(name)"
                guard view.number(directory + "/enable") == 1,
                    let path = view.value(directory + "/udev_path"), path.hasPrefix("/")
                else { return nil }
                return (path, "SCSI target \(backend)/\(name)")
            }
        }
    }
}
