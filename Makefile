# Two commands do all the set-up: `make demo` shows ringmirror at work, `make test` tests it.

SHELL := /bin/bash
PREFIX ?= /usr/local
SWIFT ?= swift
# With the Swift runtime inside, so that the program runs where no toolchain is.
# Without symbols it is half as large, which is felt when it is read from a cold disk.
RELEASE := -c release --product ringmirror --static-swift-stdlib -Xlinker -s

.PHONY: bench-live bpf fuzz help demo test test-guest outside build release install sanitize bench bench-incremental bench-qcow2 micro format lint clean packages test-packages fuzz-maps fuzz-images

help:
	@echo "make demo      build, mirror one loop disk onto another, compare them, explain"
	@echo "make test      install what the tests need, and run all of them (as root for all of them)"
	@echo "make test-guest   boot Debian's kernels in QEMU, and mirror and track all kinds of disks there"
	@echo "make outside   build a program outside of the tree that uses the library, from nothing, and run it"
	@echo "make release   build .build/release/ringmirror"
	@echo "make install   install it under PREFIX ($(PREFIX))"
	@echo "make bench     compare ringmirror's speed with fio, qemu-img, nbdcopy, dd and cp (as root)"
	@echo "make bench-incremental   the same for incremental mirrors, with QEMU's backup job and fio (as root)"
	@echo "make bench-qcow2   the same from and into qcow2 images, with qemu-img (as root)"
	@echo "make bench-live   what tracking a disk costs its writers, and a live mirror them and itself (as root)"
	@echo "make micro     time what jobs do most often, and count its allocations and system calls"
	@echo "make sanitize  run the tests under the address and the thread sanitizer"
	@echo "make fuzz      feed libFuzzer's inputs to the readers of change maps and images (FUZZ_SECONDS=$(FUZZ_SECONDS))"
	@echo "make bpf       compile the kernel's program again that tracks disks (when it was changed)"
	@echo "make format    format the sources;  make lint  check the format"

# What building needs, and what testing needs on top. Only missing packages are installed.
packages:
	@.ci/install-packages build

test-packages:
	@.ci/install-packages build test

build: packages
	$(SWIFT) build

release: packages
	$(SWIFT) build $(RELEASE)

demo: release
	@docs/demo.sh .build/release/ringmirror

# With optimization, and all assertions: see Package.swift.
test: test-packages lint
	RINGMIRROR_OPTIMIZE_TESTS=1 $(SWIFT) build --build-tests
	RINGMIRROR_OPTIMIZE_TESTS=1 $(SWIFT) test --skip-build
	$(SWIFT) build $(RELEASE)
	@if [ "$$(id -u)" = 0 ]; then \
	    echo "running the benchmarks small, to see that they work; their figures mean nothing at this size"; \
	    for what in full incremental qcow2; do \
	        python3 Benchmarks/$$what.py --size 64M --rounds 1 --rest 0 \
	            --json .build/bench-$$what-smoke.json >.build/bench-$$what-smoke.txt \
	            || { cat .build/bench-$$what-smoke.txt; exit 1; }; \
	    done; \
	else echo "the benchmarks' smoke runs were skipped: they need root"; fi
	@$(MAKE) --no-print-directory outside

# Disks that this machine doesn't have, pulled out and broken, under kernels that it doesn't run.
# SCENARIOS names some of Tests/Guest/guest/scenarios.sh; GUEST_KERNELS, packages of kernels.
SCENARIOS ?=
test-guest: release
	@.ci/install-packages guest
	Tests/Guest/run .build/release/ringmirror $(SCENARIOS)

# A user's program, with none of our settings. Some conflicts between C modules show only in the first
# debug build of a program, and not in the second: each time it is built from nothing.
OUTSIDE := --package-path Tests/Outside --scratch-path .build/outside
outside: packages
	rm -rf .build/outside
	$(SWIFT) build $(OUTSIDE)
	.build/outside/debug/Outside
	$(SWIFT) build $(OUTSIDE) -c release
	.build/outside/release/Outside
	rm -rf .build/outside

# Every sanitizer rebuilds everything, so each has a build folder of its own.
sanitize: test-packages
	# What a broken ring leaks on purpose, and what the test library leaks, is no finding.
	ASAN_OPTIONS=detect_leaks=0 SWIFT_BACKTRACE=enable=no RINGMIRROR_OPTIMIZE_TESTS=1 \
	    $(SWIFT) test --sanitize=address --scratch-path .build-address
	# The thread sanitizer doesn't see the standard library's Mutex on Linux, and calls what it
	# protects a race: only what works without one is worth running.
	SWIFT_BACKTRACE=enable=no $(SWIFT) test --sanitize=thread --scratch-path .build-thread \
	    --filter RingTests

# libFuzzer on everything that reads foreign bytes; a finding is left in .build-fuzz.
FUZZ_SECONDS ?= 60
FUZZ_FLAGS := -O -g -sanitize=fuzzer,address -swift-version 6 -package-name ringmirror -I .build-fuzz
fuzz-maps:
	mkdir -p .build-fuzz/corpus
	for module in DirtyBitmap ChangeMap; do \
	    $(SWIFT)c $(FUZZ_FLAGS) -parse-as-library -wmo -emit-module -emit-library -static \
	        -module-name $$module -emit-module-path .build-fuzz/$$module.swiftmodule \
	        -o .build-fuzz/lib$$module.a $$(find Sources/$$module -name '*.swift') || exit 1; \
	done
	$(SWIFT)c $(FUZZ_FLAGS) -parse-as-library -L .build-fuzz -lChangeMap -lDirtyBitmap \
	    -o .build-fuzz/fuzzer Tests/Fuzzing/ChangeMapFuzzer.swift
	SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0 .build-fuzz/fuzzer -rss_limit_mb=4096 \
	    -timeout=20 -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=.build-fuzz/ .build-fuzz/corpus

# The reader of images needs C modules and swift-system, so the package builds it; the fuzzer has to
# claim to be of that package, whose name is that of this folder.
FUZZ_PACKAGE := .build-fuzz/package/release
FUZZ_PACKAGE_NAME = $(shell basename '$(CURDIR)' | tr A-Z a-z | sed 's/[^a-z0-9]/_/g')
FUZZ_C_MODULES := CBlkid CLinux CZlib CZstd
FUZZ_MODULES := BlockStorage $(FUZZ_C_MODULES) CSystem DirtyBitmap QCOW2 SystemPackage
fuzz-images:
	mkdir -p .build-fuzz/corpus-images
	$(SWIFT) build -c release --scratch-path .build-fuzz/package --target QCOW2 \
	    -Xswiftc -sanitize=fuzzer,address
	$(SWIFT)c -O -g -sanitize=fuzzer,address -swift-version 6 -parse-as-library \
	    -package-name $(FUZZ_PACKAGE_NAME) -I $(FUZZ_PACKAGE)/Modules \
	    $(foreach module,$(FUZZ_C_MODULES),-Xcc \
	        -fmodule-map-file=$(FUZZ_PACKAGE)/$(module).build/module.modulemap) \
	    -I .build-fuzz/package/checkouts/swift-system/Sources/CSystem/include \
	    -o .build-fuzz/fuzzer-images Tests/Fuzzing/QCOW2Fuzzer.swift \
	    $$(for module in $(FUZZ_MODULES); do find $(FUZZ_PACKAGE)/$$module.build -name '*.o'; done) \
	    -lblkid -lz -lzstd
	# Without an image to begin with, it takes libFuzzer hours to make one up.
	for options in compat=0.10 compression_type=zstd refcount_bits=1; do \
	    image=.build-fuzz/corpus-images/$$options; \
	    qemu-img create -q -f qcow2 -o cluster_size=512,$$options $$image 128K || exit 1; \
	    qemu-io -f qcow2 -c 'write -c -P 1 16k 16k' -c 'write -P 2 0 3k' \
	        -c 'write -z 64k 16k' $$image >.build-fuzz/qemu-io.txt || exit 1; \
	    test $$options = refcount_bits=1 || qemu-img snapshot -c one $$image || exit 1; \
	done
	qemu-img create -q -f qcow2 -o cluster_size=16384,extended_l2=on \
	    .build-fuzz/corpus-images/subclusters 128K
	qemu-io -f qcow2 -c 'write -c -P 1 16k 16k' -c 'write -P 2 0 3k' -c 'write -z 66k 5k' \
	    .build-fuzz/corpus-images/subclusters >.build-fuzz/qemu-io.txt
	SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0 .build-fuzz/fuzzer-images \
	    -rss_limit_mb=4096 -timeout=20 -max_len=131072 -max_total_time=$(FUZZ_SECONDS) \
	    -artifact_prefix=.build-fuzz/ .build-fuzz/corpus-images

fuzz: fuzz-maps fuzz-images

bench: release
	@.ci/install-packages build test
	python3 Benchmarks/full.py

bench-incremental: release
	@.ci/install-packages build test
	python3 Benchmarks/incremental.py

bench-live: release
	@.ci/install-packages build test
	python3 Benchmarks/live.py

bench-qcow2: release
	@.ci/install-packages build test
	python3 Benchmarks/qcow2.py

# A package of its own: nobody else shall depend on what measures. Fails on counts, never on times.
micro: packages
	$(SWIFT) package --package-path Benchmarks/Micro --scratch-path .build-micro benchmark --no-progress

bpf:
	sh Sources/CBPF/bpf/compile > Sources/CBPF/tracker_object.h.new && mv Sources/CBPF/tracker_object.h.new Sources/CBPF/tracker_object.h

install: release
	install -D -m 755 .build/release/ringmirror $(DESTDIR)$(PREFIX)/bin/ringmirror

format:
	$(SWIFT) format -i --configuration .swift-format -r Package.swift Sources Tests Benchmarks/Micro

lint:
	$(SWIFT) format lint --strict --configuration .swift-format -r Package.swift Sources Tests Benchmarks/Micro

clean:
	rm -rf .build .build-address .build-thread .build-fuzz .build-micro
