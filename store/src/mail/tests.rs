//! Tests of the log on a shelf in memory, which can fail and lose power.

mod damage;
mod durability;
mod every_call;
mod export;
mod frames;
mod full_disk;
mod give_way;
mod golden;
mod history;
mod interface;
mod log;
mod measure;
mod rules;
mod scan;
mod seal;
mod segments;
mod spares;
mod threads;
mod victim;
mod world;
