/// What the tools themselves printed; `\#` at the end of a line joins it to the next.
///
/// Two were made shorter: the bmap has lost its comments (and has the checksum that goes with
/// that), and the DRBD dump of version 9 its peers from 5 on, of which none has a bitmap. The bmaps
/// of versions 1.2 and 1.3 are made by hand.
enum Text {
    static let bmap = #"""
        <?xml version="1.0" ?>
        <bmap version="2.0">
            <ImageSize> 16777216 </ImageSize>
            <BlockSize> 4096 </BlockSize>
            <BlocksCount> 4096 </BlocksCount>
            <MappedBlocksCount> 33   </MappedBlocksCount>
            <ChecksumType> sha256 </ChecksumType>
            <BmapFileChecksum>\#
         e88abeee9e03c884e856291a61adf58c38555bf77501c8e544c5f053607124b4 </BmapFileChecksum>
            <BlockMap>
                <Range\#
         chksum="049fdd31bb55ea07bc5c3b556e4c277519b11eff72fd6fe97c9f2d846e01780d"> 64-95\#
         </Range>
                <Range\#
         chksum="0a6f076ee8f034a0db8599a6dfe946f71cb6e468db7b2400c2dffa4af87f93f9"> 1000\#
         </Range>
            </BlockMap>
        </bmap>

        """#

    static let bmap13 = #"""
        <?xml version="1.0" ?>
        <bmap version="1.3">
            <ImageSize> 10000 </ImageSize>
            <BlockSize> 4096 </BlockSize>
            <BlocksCount> 3 </BlocksCount>
            <MappedBlocksCount> 2 </MappedBlocksCount>
            <BmapFileSHA1> b59d49deb1a1893417a7dec4abaec709536bb3bc </BmapFileSHA1>
            <BlockMap>
                <Range sha1="da39a3ee5e6b4b0d3255bfef95601890afd80709"> 0 </Range>
                <Range sha1="da39a3ee5e6b4b0d3255bfef95601890afd80709"> 2 </Range>
            </BlockMap>
        </bmap>

        """#

    static let bmap12 = #"""
        <?xml version="1.0" ?>
        <bmap version="1.2">
            <ImageSize> 10000 </ImageSize>
            <BlockSize> 4096 </BlockSize>
            <BlocksCount> 3 </BlocksCount>
            <MappedBlocksCount> 1 </MappedBlocksCount>
            <BlockMap>
                <Range> 2 </Range>
            </BlockMap>
        </bmap>

        """#

    static let ddrescue = #"""
        # Mapfile. Created by GNU ddrescue version 1.27
        # Command line: ddrescue -q src.img dst.img m.map
        # Start time:   2026-11-23 16:37:30
        # Current time: 2026-11-23 16:37:30
        # Finished
        # current_pos  current_status  current_pass
        0x003F0000     +               1
        #      pos        size  status
        0x00000000  0x00400000  +

        """#

    static let ddrescuelog = #"""
        # Mapfile. Created by GNU ddrescuelog version 1.27
        # Command line: ddrescuelog --create-mapfile -b 65536 new.map
        # Start time:   2026-11-23 16:37:30
        # current_pos  current_status  current_pass
        0x00000000     ?               1
        #      pos        size  status
        0x00000000  0x00030000  -
        0x00030000  0x00020000  +
        0x00050000  0x7FFFFFFFFFFAFFFF  -

        """#

    static let drbd08 = #"""
        # DRBD meta data dump
        # 2026-11-23 16:48:07 +0000 [1795452487]
        # vm> drbdmeta --force 0 v08 /dev/loop0 internal dump-md
        #

        version "v08";

        # md_size_sect 80
        # md_offset 67104768
        # al_offset 67072000
        # bm_offset 67067904

        uuid {
            0x0000000000000004; 0x0000000000000000; 0x0000000000000000; 0x0000000000000000;
            flags 0x00000000;
        }
        # al-extents 257;
        la-size-sect 130992;
        bm-byte-per-bit 4096;
        device-uuid 0x1234567812345678;
        la-peer-max-bio-size 4096;
        al-stripes 1;
        al-stripe-size-4k 8;
        # bm-bytes 4096;
        bm {
           # at 0kB
            0x0000000000000001; 0xFFFFFFFFFFFFFFFF; 0x0000000000000000; 0x0000000000000000;
            508 times 0x0000000000000000;
        }
        # bits-set 65;

        """#

    static let drbd09 = #"""
        # DRBD meta data dump
        # 2026-11-25 13:33:45 +0000 [1795613625]
        # vm> drbdmeta --force 0 v09 /dev/loop0 internal dump-md
        #

        version "v09";

        max-peers 2;
        # md_size_sect 80
        # md_offset 67104768
        # al_offset 67072000
        # bm_offset 67067904

        node-id 0;
        current-uuid 0x0000000000000004;
        flags 0x00000080;
        peer[0] {
            bitmap-index -1;
            bitmap-uuid 0x0000000000000000;
            bitmap-dagtag 0x0000000000000000;
            flags 0x00000000;
        }
        peer[1] {
            bitmap-index 0;
            bitmap-uuid 0x0000000000000000;
            bitmap-dagtag 0x0000000000000000;
            flags 0x00000000;
        }
        peer[2] {
            bitmap-index -1;
            bitmap-uuid 0x0000000000000000;
            bitmap-dagtag 0x0000000000000000;
            flags 0x00000000;
        }
        peer[3] {
            bitmap-index -1;
            bitmap-uuid 0x0000000000000000;
            bitmap-dagtag 0x0000000000000000;
            flags 0x00000000;
        }
        peer[4] {
            bitmap-index 1;
            bitmap-uuid 0x0000000000000000;
            bitmap-dagtag 0x0000000000000000;
            flags 0x00000000;
        }
        history-uuids {
                0x0000000000000000; 0x0000000000000000; 0x0000000000000000; 0x0000000000000000;
        }
        # al-extents 257;
        la-size-sect 130992;
        bm-byte-per-bit 4096;
        device-uuid 0x0000000000000000;
        la-peer-max-bio-size 0;
        al-stripes 1;
        al-stripe-size-4k 8;
        # bm-bytes 4096;
        bitmap[0] {
           # at 0kB
            0x0000000000000001; 0xFFFFFFFFFFFFFFFF; 0x0000000000000000; 0x0000000000000000;
            252 times 0x0000000000000000;
        }
        bitmap[1] {
           # at 0kB
            0x00000000000000F0; 0xFFFFFFFFFFFFFFFF; 0xFFFFFFFFFFFFFFFF; 0xFFFFFFFFFFFFFFFF;
            252 times 0x0000000000000000;
        }
        # bits-set 196;

        """#

    static let era09 = #"""
        <blocks>
          <block block="7"/>
          <range begin="20" end = "30"/>
          <range begin="100" end = "103"/>
        </blocks>

        """#

    static let era1 = #"""
        <blocks>
          <block block="7"/>
          <range begin="20" end="30"/>
          <range begin="100" end="103"/>
        </blocks>

        """#

    static let filefrag = #"""
        Filesystem type is: ef53
        File size of a.img is 16777216 (4096 blocks of 4096 bytes)
         ext:     logical_offset:        physical_offset: length:   expected: flags:
           0:       64..      95:   11855936..  11855967:     32:         64:
           1:     1000..    1000:   11856872..  11856872:      1:             last
        a.img: 1 extent found

        """#

    static let nbdDirty = #"""
        [
        { "offset": 0, "length": 4194304, "type": 0, "description": "clean"},
        { "offset": 4194304, "length": 131072, "type": 1, "description": "dirty"},
        { "offset": 4325376, "length": 12451840, "type": 0, "description": "clean"}
        ]

        """#

    static let nbdMap = #"""
        [
        { "offset": 0, "length": 262144, "type": 3, "description": "hole,zero"},
        { "offset": 262144, "length": 131072, "type": 0, "description": "data"},
        { "offset": 393216, "length": 3702784, "type": 3, "description": "hole,zero"},
        { "offset": 4096000, "length": 4096, "type": 0, "description": "data"},
        { "offset": 4100096, "length": 12677120, "type": 3, "description": "hole,zero"}
        ]

        """#

    static let nbdText = #"""
                 0      262144    3  hole,zero
            262144      131072    0  data
            393216     3702784    3  hole,zero
           4096000        4096    0  data
           4100096    12677120    3  hole,zero

        """#

    static let partclone = #"""
        # Domain logfile created by unset_name v0.3.23
        # Source: e.img
        # Offset: 0x00000000
        # current_pos  current_status
        0x04000000     ?
        #      pos        size  status
        0x00000000  0x00448400  +
        0x00448400  0x003B8000  ?
        0x00800400  0x00040800  +
        0x00840C00  0x007BF800  ?
        0x01000400  0x00400000  +
        0x01400400  0x00400000  ?
        0x01800400  0x00040800  +
        0x01840C00  0x00FBF800  ?
        0x02800400  0x00040800  +
        0x02840C00  0x00FBF800  ?
        0x03800400  0x00040800  +
        0x03840C00  0x007BF400  ?

        """#

    static let qemuHuman = #"""
        Offset          Length          Mapped to       File
        0               0x20000         0x50000         base.qcow2
        0x200000        0x10000         0x50000         top.qcow2
        0x400000        0x19000         0x80000         top.qcow2

        """#

    static let qemuOverlay = #"""
        [{ "start": 0, "length": 131072, "depth": 1, "present": true, "zero": false, "data":\#
         true, "offset": 327680},
        { "start": 131072, "length": 917504, "depth": 1, "present": false, "zero": true,\#
         "data": false},
        { "start": 1048576, "length": 65536, "depth": 1, "present": true, "zero": true,\#
         "data": false},
        { "start": 1114112, "length": 983040, "depth": 1, "present": false, "zero": true,\#
         "data": false},
        { "start": 2097152, "length": 65536, "depth": 0, "present": true, "zero": false,\#
         "data": true, "offset": 327680},
        { "start": 2162688, "length": 2031616, "depth": 1, "present": false, "zero": true,\#
         "data": false},
        { "start": 4194304, "length": 102400, "depth": 0, "present": true, "zero": false,\#
         "data": true, "offset": 524288},
        { "start": 4296704, "length": 28672, "depth": 0, "present": true, "zero": true,\#
         "data": true, "offset": 626688},
        { "start": 4325376, "length": 12451840, "depth": 1, "present": false, "zero": true,\#
         "data": false}]

        """#

    static let qemuRaw = #"""
        [{ "start": 0, "length": 262144, "depth": 0, "present": true, "zero": true, "data":\#
         false, "offset": 0},
        { "start": 262144, "length": 131072, "depth": 0, "present": true, "zero": false,\#
         "data": true, "offset": 262144},
        { "start": 393216, "length": 3702784, "depth": 0, "present": true, "zero": true,\#
         "data": false, "offset": 393216},
        { "start": 4096000, "length": 4096, "depth": 0, "present": true, "zero": false,\#
         "data": true, "offset": 4096000},
        { "start": 4100096, "length": 12677120, "depth": 0, "present": true, "zero": true,\#
         "data": false, "offset": 4100096}]

        """#

    static let qemuDirty = #"""
        [{ "start": 0, "length": 4194304, "depth": 0, "present": true, "zero": false, "data":\#
         true, "offset": 0},
        { "start": 4194304, "length": 131072, "depth": 0, "present": false, "zero": false,\#
         "data": false},
        { "start": 4325376, "length": 12451840, "depth": 0, "present": true, "zero": false,\#
         "data": true, "offset": 4325376}]

        """#

    static let thinDeltaVerbose = #"""
        <superblock uuid="" time="1" transaction="2" data_block_size="128"\#
         nr_data_blocks="1000">
          <diff left="1" right="2">
            <same>
              <range begin="0" data_begin="0" length="10"/>
            </same>
            <different>
              <range begin="10" left_data_begin="100" right_data_begin="10" length="10"/>
            </different>
            <right_only>
              <range begin="40" data_begin="200" length="5"/>
            </right_only>
          </diff>
        </superblock>

        """#

    static let thinDelta = #"""
        <superblock uuid="" time="1" transaction="2" data_block_size="128"\#
         nr_data_blocks="1000">
          <diff left="1" right="2">
            <same begin="0" length="10"/>
            <different begin="10" length="10"/>
            <right_only begin="40" length="5"/>
          </diff>
        </superblock>

        """#

    static let thinDump = #"""
        <superblock uuid="" time="1" transaction="2" flags="0" version="2"\#
         data_block_size="128" nr_data_blocks="1000">
          <device dev_id="1" mapped_blocks="20" transaction="0" creation_time="0" snap_time="1">
            <range_mapping origin_begin="0" data_begin="0" length="10" time="0"/>
            <range_mapping origin_begin="10" data_begin="100" length="10" time="1"/>
          </device>
          <device dev_id="2" mapped_blocks="25" transaction="1" creation_time="1" snap_time="1">
            <range_mapping origin_begin="0" data_begin="0" length="20" time="0"/>
            <range_mapping origin_begin="40" data_begin="200" length="5" time="1"/>
          </device>
        </superblock>

        """#
}
