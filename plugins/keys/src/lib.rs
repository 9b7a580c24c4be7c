//! End-to-end encryption: keys of devices and users, their signatures, one-time keys, key backup, messages from device to
//! device, dehydrated devices.
