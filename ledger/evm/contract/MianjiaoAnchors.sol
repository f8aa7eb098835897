// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// Checkpoints of logs, write-once. One contract serves any number of logs.
///
/// `origin` is the SHA-256 of the log's origin. Nothing here is ever changed or
/// removed, there is no proxy and no delegatecall: whoever knows the code hash
/// knows these rules. The order of the four variables is part of the format:
/// storage proofs speak of slots.
contract MianjiaoAnchors {
    struct Head {
        address anchorer;
        uint64 size;
    }

    /// Slot 0. The root of each anchored size; zero: that size was not anchored.
    mapping(bytes32 => mapping(uint256 => bytes32)) private roots;
    /// Slot 1. Who may anchor a log, and the newest size.
    mapping(bytes32 => Head) private heads;
    /// Slot 2. Each anchor chained to the one before it.
    mapping(bytes32 => bytes32) private links;
    /// Slot 3. The cold administrator: appoints anchorers, anchors nothing.
    address public registrar;

    event Anchored(
        bytes32 indexed origin, uint64 previousSize, uint64 size, bytes32 root, bytes32 link
    );
    event Appointed(bytes32 indexed origin, address anchorer);
    event RegistrarChanged(address registrar);

    error NotRegistrar();
    error NotAnchorer();
    error ZeroRegistrar();
    error ZeroRoot();
    error OtherRoot(bytes32 root);
    error WrongPreviousSize(uint64 size);
    error NoGrowth();

    /// The first log is appointed at once, so that the cold key never has to be online.
    constructor(address registrar_, bytes32 origin, address anchorer) {
        if (registrar_ == address(0)) revert ZeroRegistrar();
        registrar = registrar_;
        heads[origin].anchorer = anchorer;
        emit RegistrarChanged(registrar_);
        emit Appointed(origin, anchorer);
    }

    /// Store `root` for `size`, if the newest size is `previousSize`. The same root for a
    /// size that has it already changes nothing, so that a transaction may be sent again.
    function anchor(bytes32 origin, uint64 previousSize, uint64 size, bytes32 root) external {
        Head storage head = heads[origin];
        if (head.anchorer != msg.sender) revert NotAnchorer();
        if (root == bytes32(0)) revert ZeroRoot();
        bytes32 known = roots[origin][size];
        if (known == root) return;
        if (known != bytes32(0)) revert OtherRoot(known);
        if (head.size != previousSize) revert WrongPreviousSize(head.size);
        if (size <= previousSize) revert NoGrowth();
        bytes32 link = keccak256(abi.encode(links[origin], origin, previousSize, size, root));
        roots[origin][size] = root;
        links[origin] = link;
        head.size = size;
        emit Anchored(origin, previousSize, size, root, link);
    }

    /// Replace who may anchor a log: a stolen key loses its power, what it anchored stays.
    function appoint(bytes32 origin, address anchorer) external {
        if (registrar != msg.sender) revert NotRegistrar();
        heads[origin].anchorer = anchorer;
        emit Appointed(origin, anchorer);
    }

    function changeRegistrar(address registrar_) external {
        if (registrar != msg.sender) revert NotRegistrar();
        if (registrar_ == address(0)) revert ZeroRegistrar();
        registrar = registrar_;
        emit RegistrarChanged(registrar_);
    }

    function rootOf(bytes32 origin, uint256 size) external view returns (bytes32) {
        return roots[origin][size];
    }

    function headOf(bytes32 origin)
        external
        view
        returns (address anchorer, uint64 size, bytes32 link)
    {
        Head storage head = heads[origin];
        return (head.anchorer, head.size, links[origin]);
    }
}
