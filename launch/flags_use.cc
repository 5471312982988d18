// Flags of what comes after training, and of the search and the benchmarks.
#include <gflags/gflags.h>

DEFINE_string(split, "test", "Target to evaluate: validation or test");
DEFINE_string(checkpoint, "best", "Checkpoint of the run: best (validation MRR) or last");
DEFINE_bool(mask_seen, false, "Leave the items of the input out of the ranking");
DEFINE_bool(all, false,
            "Evaluate both splits, each with seen items kept and masked: four lines of JSON");
DEFINE_string(json_out, "", "File to write the JSON lines to");
DEFINE_string(ranks_out, "", "File to write `user<TAB>rank` lines to");

DEFINE_string(users, "", "User ids of the data set, separated by commas");
DEFINE_string(users_file, "", "File with one user id a line");
DEFINE_string(history, "",
              "File with one history a line (name<TAB>item ids separated by blanks, oldest first), "
              "for users never seen in training");
DEFINE_int64(k, 10, "Recommendations a user");
DEFINE_bool(keep_seen, false, "Recommend items of the history too");

DEFINE_int64(trials, 30, "Trials of the search in total, over all restarts");
DEFINE_int64(trial_epochs, 10, "Epochs of a trial");
DEFINE_double(bo_fraction, 0.2, "Share of the users that a trial trains and is scored on");
DEFINE_string(method, "auto",
              "How points are proposed: auto (Gaussian process, the better of both maximisers), pr "
              "(probabilistic reparameterization alone), local (bit flips alone), climb (hill "
              "climbing without a Gaussian process) or random");

DEFINE_string(problem, "arch", "Test problem of `bench bo`: nk2, nk4, arch or contam");
DEFINE_int64(
    instance, 0,
    "Instance of the problem, or the first of five for --table, by seed mod 5; 0 for those "
    "that are listed");
DEFINE_int64(groups, 1, "Groups that evaluate trials at the same time");
DEFINE_int64(evaluations, 30, "Evaluations of a run");
DEFINE_bool(check, false, "Print the check values of the test problems instead");
DEFINE_bool(table, false,
            "Print the scores by problem and method over --seeds, and how they grow, instead");
DEFINE_bool(cost, false,
            "Print the seconds of a suggestion by how many results and pending points there are "
            "instead");
DEFINE_int64(seeds, 10,
             "Seeds of each system of a table, counted from --seed; for bench bo runs of each "
             "problem and method");
DEFINE_double(seconds, 10,
              "Seconds of train steps to measure, at least three steps; for bench ps of every "
              "measurement");
DEFINE_int64(candidates, 1,
             "Models of different architectures that `bench step` trains side by side, in steps of "
             "all together");
DEFINE_string(profile, "",
              "Folder for a profile of some train steps, or of scoring: tables of phases and "
              "kernels, traces that "
              "Perfetto opens");
DEFINE_string(pad_steps, "gpu",
              "Where train steps are made on batches padded to a few shapes, which a GPU captures "
              "once as graphs: gpu, always or never");
DEFINE_int64(rounds, 5, "Measurements of each side, in turns; their medians count");
